/** Something asked of the host that a page shows: the last answer, what went wrong, whether it is being asked. */
import { untrack } from 'svelte'
import { connection } from './connection.svelte.ts'
import { problemOf } from './problem.ts'
import type { Problem } from './problem.ts'

export class Resource<T> {
  /** The last answer; kept while a newer one is asked for. */
  value = $state.raw<T | undefined>(undefined)
  problem = $state.raw<Problem | undefined>(undefined)
  loading = $state(true)
  #asked = $state(0)
  #newest = 0

  /** Asks again. */
  reload = (): void => {
    this.#asked += 1
  }

  /** For `resource` only: what re-runs the question. */
  get asked(): number {
    return this.#asked
  }

  async take(answer: Promise<T>): Promise<void> {
    const mine = ++this.#newest
    this.loading = true
    try {
      const value = await answer
      if (mine !== this.#newest) return
      this.value = value
      this.problem = undefined
    } catch (error) {
      if (mine !== this.#newest) return
      const problem = problemOf(error)
      // A lost connection is said once, by the banner; the question is asked again when it is back.
      if (problem.lost) return
      this.problem = problem
    }
    this.loading = false
  }
}

/**
 * Asks now, and again whenever something reactive that `ask` reads (before its first await) changes or the connection
 * came back. `undefined` from `ask` means: nothing to ask yet. Call while a component is set up.
 */
export function resource<T>(ask: () => Promise<T> | undefined): Resource<T> {
  const kept = new Resource<T>()
  $effect(() => {
    void connection.epoch
    void kept.asked
    const answer = ask()
    if (answer !== undefined) untrack(() => void kept.take(answer))
  })
  return kept
}
