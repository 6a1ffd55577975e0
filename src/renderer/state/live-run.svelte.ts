/**
 * One run as it is watched: its state and its metric series. Live, late, reloaded and finished are one path: first the
 * series as columns, then whatever the record holds beyond their cursor. Arrays stay plain and grow in place; `version`
 * is the one cell that says so.
 */
import type { RecordedEvent, RunState } from '../../shared/contract/types.ts'
import { api } from '../lib/api.ts'
import { problemOf } from '../lib/problem.ts'
import type { Problem } from '../lib/problem.ts'
import { thinned } from '../lib/series.ts'
import type { Points } from '../lib/series.ts'

type Growing = { step: number[]; value: number[] }

/** A curve longer than this is thinned to about half of it by lowest and highest: memory stays bounded. */
const MOST_POINTS = 12_000
const ASKED_POINTS = 4000
const RETRY = 1000

export class LiveRun {
  readonly id: string
  state = $state.raw<RunState | undefined>(undefined)
  problem = $state.raw<Problem | undefined>(undefined)
  /** Grows when points were added. */
  version = $state(0)
  /** Names of the metrics there are, sorted. */
  metrics = $state.raw<readonly string[]>([])
  /** Grows with each checkpoint, sample or end that came: what shows those asks again. */
  checkpoints = $state(0)
  samples = $state(0)
  /** The series have come. */
  ready = $state(false)
  #series = new Map<string, Growing>()

  constructor(id: string) {
    this.id = id
  }

  /** The arrays themselves; read `version` beside it to be told when they grow. */
  points(metric: string): Points | undefined {
    return this.#series.get(metric)
  }

  /** Follows until `signal` aborts. */
  async follow(signal: AbortSignal): Promise<void> {
    let cursor: number | undefined
    while (!signal.aborted) {
      try {
        cursor ??= await this.#load()
        const {
          events,
          cursor: reached,
          state
        } = await api.runs.follow(
          { id: this.id, after: cursor, limit: 5000, waitMs: this.state === undefined ? 0 : 20_000 },
          { signal }
        )
        cursor = reached
        this.state = state
        this.problem = undefined
        this.take(events.map(({ event }) => event))
      } catch (error) {
        if (signal.aborted) return
        const problem = problemOf(error)
        this.problem = problem.lost ? undefined : problem
        await new Promise((resolve) => setTimeout(resolve, RETRY))
      }
    }
  }

  async #load(): Promise<number> {
    const { series, cursor } = await api.runs.series({ id: this.id, points: ASKED_POINTS })
    this.#series = new Map(series.map(({ metric, step, value }) => [metric, { step: [...step], value: [...value] }]))
    this.#named()
    this.ready = true
    this.version += 1
    return cursor
  }

  /** Adds what was recorded. A step that is told again (a resumed run) replaces what came after it. */
  take(events: readonly RecordedEvent['event'][]): void {
    let [points, names] = [0, 0]
    for (const event of events) {
      if (event.kind === 'checkpoint') this.checkpoints += 1
      if (event.kind === 'sample') this.samples += 1
      if (event.kind === 'end') this.checkpoints += 1
      if (event.kind !== 'step' && event.kind !== 'evaluation') continue
      const prefix = event.kind === 'evaluation' ? 'eval/' : ''
      for (const [name, value] of Object.entries(event.metrics)) {
        points += 1
        if (this.#add(prefix + name, event.step, value)) names += 1
      }
    }
    if (names > 0) this.#named()
    if (points > 0) this.version += 1
  }

  /** Answers whether the metric is new. */
  #add(metric: string, step: number, value: number): boolean {
    const known = this.#series.get(metric)
    if (known === undefined) {
      this.#series.set(metric, { step: [step], value: [value] })
      return true
    }
    while (known.step.length > 0 && known.step.at(-1)! >= step) {
      known.step.pop()
      known.value.pop()
    }
    known.step.push(step)
    known.value.push(value)
    if (known.step.length > MOST_POINTS) {
      const fewer = thinned(known, MOST_POINTS / 4)
      known.step.splice(0, known.step.length, ...fewer.step)
      known.value.splice(0, known.value.length, ...fewer.value)
    }
    return false
  }

  #named(): void {
    this.metrics = [...this.#series.keys()].sort()
  }
}
