/** What stands on the reward workbench: kept in the tab, so that a reload shows the same. */
import { api } from '../../lib/api.ts'
import type { Api } from '../../lib/api.ts'

type Input = Parameters<Api['play']['explainReward']>[0]
export type RewardSettings = NonNullable<Input['reward']>

/** The report's example at a toy size: a right answer with a thought, so that the page says something at once. */
const EXAMPLE = {
  completion:
    '<think>\n17 boxes with 23 pencils each: 17·23 = 391. 40 are given away: 391 − 40 = 351.\n</think>\n\\boxed{351}',
  solution: '351'
}

const KEY = 'reasonsmith.reward'

export class Workbench {
  completion = $state('')
  solution = $state('')
  /** '' counts words and signs, and the answer says so. */
  length = $state('')
  limit = $state('512')
  ended = $state(true)
  settings = $state<RewardSettings>({})
  /** Where it came from, when it was picked from a run. */
  origin = $state<string | null>(null)

  constructor() {
    try {
      const kept: unknown = JSON.parse(sessionStorage.getItem(KEY) ?? 'null')
      if (kept !== null) Object.assign(this, kept)
    } catch {
      // A draft that cannot be read is no draft.
    }
  }

  readonly limitTokens = $derived(Math.round(Number(this.limit)))
  readonly problem = $derived.by(() => {
    if (this.completion.trim() === '') return 'Paste a completion, or pick one from a run.'
    if (this.solution.trim() === '') return 'Write the right answer: equality is what the reward starts from.'
    if (!(this.limitTokens >= 1)) return 'The token limit is a whole number, 1 or more.'
    if (this.length !== '' && !(Number(this.length) >= 0)) return 'The length is a number of tokens, 0 or more.'
    return null
  })

  readonly input = $derived.by((): Input | null =>
    this.problem !== null
      ? null
      : {
          completion: this.completion,
          solution: this.solution,
          ...(this.length === '' ? {} : { lengthTokens: Math.round(Number(this.length)) }),
          max_completion_length: this.limitTokens,
          ended: this.ended,
          reward: $state.snapshot(this.settings)
        }
  )

  keep(): void {
    const { completion, solution, length, limit, ended, origin } = this
    sessionStorage.setItem(KEY, JSON.stringify({ completion, solution, length, limit, ended, origin }))
  }

  example(): void {
    Object.assign(this, EXAMPLE, { length: '', ended: true, origin: null })
  }

  explain = (): ReturnType<Api['play']['explainReward']> | undefined =>
    this.input === null ? undefined : api.play.explainReward(this.input)
}
