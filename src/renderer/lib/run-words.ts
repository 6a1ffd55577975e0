/** How a run stands, in words. State is never told by colour alone. */
import type { RunState, RunSummary } from '../../shared/contract/types.ts'
import { duration, ago } from './format.ts'

/** What a colour means on a badge. */
export type Tone = 'plain' | 'accent' | 'correct' | 'wrong' | 'unreadable' | 'warn'

export const KIND_WORDS: Readonly<Record<RunSummary['kind'], string>> = {
  demo: 'Demo',
  sft: 'SFT',
  grpo: 'GRPO',
  evaluate: 'Evaluation',
  prepare: 'Prepare',
  export: 'Export',
  doctor: 'Self-test',
  download: 'Download'
}

type Ended = Extract<RunState, { kind: 'ended' }>
const HOW: Readonly<Record<Ended['how'], { word: string; tone: Tone }>> = {
  done: { word: 'Done', tone: 'correct' },
  stopped: { word: 'Stopped', tone: 'warn' },
  cancelled: { word: 'Cancelled', tone: 'plain' },
  failed: { word: 'Failed', tone: 'wrong' },
  crashed: { word: 'Crashed', tone: 'wrong' }
}

/** One or two words, for a badge. */
export function stateWord(state: RunState): { word: string; tone: Tone } {
  switch (state.kind) {
    case 'held':
      return { word: 'Held back', tone: 'plain' }
    case 'queued':
      return { word: state.place === 0 ? 'Next' : 'Waiting', tone: 'plain' }
    case 'running':
      return state.stopping ? { word: 'Stopping', tone: 'warn' } : { word: 'Running', tone: 'accent' }
    case 'ended':
      return HOW[state.how]
  }
}

/** A sentence: where it stands and what comes. */
export function stateSentence(run: RunSummary, now: number): string {
  const { state } = run
  switch (state.kind) {
    case 'held':
      return 'Held back: it starts when you let it wait again.'
    case 'queued':
      return state.place === 0 ? 'Next in the queue.' : `Waiting; ${state.place} ahead of it.`
    case 'running': {
      const at =
        state.of === null || state.step === null ? state.phase : `${state.phase}, step ${state.step} of ${state.of}`
      const left = state.remainingMs === null ? '' : `, about ${duration(state.remainingMs)} left`
      return state.stopping ? `Stopping: ${at}.` : `${capital(at)}${left}.`
    }
    case 'ended': {
      const when = `${HOW[state.how].word}${run.endedAt === null ? '' : ` ${ago(run.endedAt, now)}`}`
      // Jobs without a reason of their own end with this word, which says no more than “Done”.
      if (state.reason === '' || state.reason === 'finished') return `${when}.`
      return `${when}: ${state.reason}${/[.!?]$/.test(state.reason) ? '' : '.'}`
    }
  }
}

/** Share done, 0 to 1, or null where it is not known. */
export function shareDone(state: RunState): number | null {
  if (state.kind !== 'running') return null
  const inner = state.progress && state.progress.of > 0 ? state.progress.done / state.progress.of : 0
  if (state.step !== null && state.of !== null && state.of > 0)
    return Math.min(1, (state.step + Math.min(inner, 0.99)) / state.of)
  return state.progress ? inner : null
}

/** How long it ran so far or in all, ms; null before it started. */
export const ranFor = (run: RunSummary, now: number): number | null =>
  run.startedAt === null ? null : (run.endedAt ?? now) - run.startedAt

export const capital = (text: string): string => text.charAt(0).toUpperCase() + text.slice(1)
