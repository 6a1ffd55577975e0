/**
 * Takes a running job's events and output, keeps the momentary ones in memory, and writes the rest to the record in batches:
 * a page that follows sees them a moment later, and a run of many small events costs few transactions.
 */
import type { RunEvent } from '../../shared/event.ts'
import { outputLine, terminalLines } from './terminal-lines.ts'

/** What is known of a running job and not recorded. */
export type Live = {
  phase: string
  step: number | null
  of: number | null
  progress: { label: string; done: number; of: number } | null
  remainingMs: number | null
  stopping: boolean
}

export type RecorderOptions = {
  readonly write: (batch: { events: { at: number; event: RunEvent }[]; lines: string[] }) => void
  /** Something momentary changed or something was written. */
  readonly changed: () => void
  /** Stages of a run of several: where each counts its steps from. Changed in place as stages come. */
  readonly stages?: Record<string, number>
  readonly now?: () => number
}

export type Recorder = {
  readonly live: Live
  readonly event: (event: RunEvent) => void
  readonly output: (line: string) => void
  readonly flush: () => void
  /** The last values of the metrics a list shows. */
  readonly headline: () => Readonly<Record<string, number>>
  readonly lastEnd: () => Extract<RunEvent, { kind: 'end' }> | null
}

const MOMENTARY: ReadonlySet<RunEvent['kind']> = new Set(['progress', 'text', 'answering'])
const BATCH_MS = 80
/** The pace is that of the last steps: the first ones are slower, and lengths grow. */
const PACE_STEPS = 20
const HEADLINE: readonly string[] = [
  'loss', 'policy_loss', 'reward', 'accuracy', 'mean_token_accuracy', 'completions/mean_length', 'entropy', 'kl',
  'tokens_per_second', 'tokens_per_second/rollout'
] // prettier-ignore
/** Phases of the demo that are runs of their own and count their steps from 1. */
const STAGES: ReadonlySet<string> = new Set(['teaching', 'sharpening', 'measuring'])

export function createRecorder({ write, changed, stages, now = Date.now }: RecorderOptions): Recorder {
  const live: Live = { phase: 'starting', step: null, of: null, progress: null, remainingMs: null, stopping: false }
  const lines = terminalLines()
  const headline: Record<string, number> = {}
  let waiting: { events: { at: number; event: RunEvent }[]; lines: string[] } = { events: [], lines: [] }
  let timer: NodeJS.Timeout | null = null
  let stepTimes: number[] = []
  let progressFrom: { label: string; at: number; done: number } | null = null
  let offset = 0
  let furthest = Math.max(0, ...Object.values(stages ?? {}))
  let end: Extract<RunEvent, { kind: 'end' }> | null = null

  const flush = (): void => {
    if (timer !== null) clearTimeout(timer)
    timer = null
    if (waiting.events.length + waiting.lines.length > 0) {
      const batch = waiting
      waiting = { events: [], lines: [] }
      write(batch)
    }
    changed()
  }
  const soon = (): void => void (timer ??= setTimeout(flush, BATCH_MS))

  /** In a run of several stages steps count on from stage to stage, so that one axis holds all of them. */
  const counted = (event: RunEvent): RunEvent => {
    if (stages === undefined) return event
    if (event.kind === 'phase' && STAGES.has(event.name)) offset = stages[event.name] ??= furthest
    if (!('step' in event)) return event
    const step = event.step + offset
    furthest = Math.max(furthest, step)
    return event.kind === 'step' ? { ...event, step, of: event.of + offset } : { ...event, step }
  }
  const watch: { readonly [K in RunEvent['kind']]?: (event: Extract<RunEvent, { kind: K }>) => void } = {
    phase: ({ name }) => {
      live.phase = name
      live.progress = null
      if (stages !== undefined && STAGES.has(name)) {
        live.step = live.of = live.remainingMs = null
        stepTimes = []
      }
    },
    step: ({ step, of, metrics }) => {
      live.step = step
      live.of = of
      live.progress = null
      stepTimes = [...stepTimes, now()].slice(-PACE_STEPS - 1)
      const pace = (stepTimes.at(-1)! - stepTimes[0]!) / (stepTimes.length - 1)
      live.remainingMs = stepTimes.length > 1 ? Math.round(pace * Math.max(0, of - step)) : null
      for (const name of HEADLINE) if (metrics[name] !== undefined) headline[name] = metrics[name]
    },
    evaluation: ({ metrics }) => {
      for (const [name, value] of Object.entries(metrics))
        if (/(^|\/)accuracy$/.test(name)) headline[`eval/${name}`] = value
    },
    progress: ({ label, done, of }) => {
      live.progress = { label, done, of }
      if (live.of !== null && live.phase !== 'measuring') return
      if (progressFrom?.label !== label || done < progressFrom.done) progressFrom = { label, at: now(), done }
      const gone = done - progressFrom.done
      live.remainingMs = gone > 0 ? Math.round(((now() - progressFrom.at) / gone) * (of - done)) : live.remainingMs
    },
    end: (event) => (end = event)
  }

  return {
    live,
    event: (told) => {
      const event = counted(told)
      ;(watch[event.kind] as ((event: RunEvent) => void) | undefined)?.(event)
      if (!MOMENTARY.has(event.kind)) {
        waiting.events.push({ at: now(), event })
        waiting.lines.push(...lines(event))
      }
      soon()
    },
    output: (line) => {
      waiting.lines.push(outputLine(line))
      soon()
    },
    flush,
    headline: () => headline,
    lastEnd: () => end
  }
}
