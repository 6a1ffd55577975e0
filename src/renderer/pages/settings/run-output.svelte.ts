/** What a short run said, as plain text: for a run that is read in one look. Long ones have the terminal of their page. */
import type { Api } from '../../lib/api.ts'
import { problemOf } from '../../lib/problem.ts'
import type { Problem } from '../../lib/problem.ts'

/** Colours and cursor movements of a terminal (ECMA-48 control sequences). */
// eslint-disable-next-line no-control-regex
const ANSI = /\u001b\[[0-9;?]*[ -/]*[@-~]/g
/** Lines that are kept: a self-test says some fifty. */
const LINES = 2000

export const withoutAnsi = (line: string): string => line.replace(ANSI, '')

export class RunOutput {
  #lines = $state.raw<readonly string[]>([])
  readonly text = $derived(this.#lines.join('\n'))
  problem = $state.raw<Problem | undefined>(undefined)
  #end = new AbortController()

  constructor(runs: Pick<Api['runs'], 'terminal'>, id: string) {
    void this.#follow(runs, id)
  }

  close(): void {
    this.#end.abort()
  }

  async #follow(runs: Pick<Api['runs'], 'terminal'>, id: string): Promise<void> {
    const { signal } = this.#end
    for (let after = 0; !signal.aborted;) {
      try {
        const { lines, cursor, ended } = await runs.terminal({ id, after })
        if (signal.aborted) return
        this.problem = undefined
        if (lines.length > 0) this.#lines = [...this.#lines, ...lines.map(withoutAnsi)].slice(-LINES)
        const still = cursor === after
        after = cursor
        if (ended && still) return
      } catch (error) {
        if (signal.aborted) return
        const problem = problemOf(error)
        if (problem.lost !== true) {
          this.problem = problem
          return
        }
        await new Promise((resolve) => setTimeout(resolve, 1000))
      }
    }
  }
}
