/** What stands on the reward workbench: kept in the tab, so that a reload shows the same. */
import type { Answer, Api } from '../../lib/api.ts'

type Input = Parameters<Api['play']['explainReward']>[0]
type Recorded = Answer<Api['play']['rollout']>
export type RewardSettings = NonNullable<Input['reward']>

/** The report's example at a toy size: a right answer with a thought, so that the page says something at once. */
const EXAMPLE = {
  completion:
    '<think>\n17 boxes with 23 pencils each: 17·23 = 391. 40 are given away: 391 − 40 = 351.\n</think>\n\\boxed{351}',
  solution: '351'
}

const EQUAL: Recorded['check'] = { kind: 'equal' }
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
  /** How the run it was picked from compared its answer, until another right answer is written. */
  check = $state.raw<Recorded['check']>(EQUAL)
  /** Its tokens, until another completion is written. */
  tokens = $state.raw<readonly string[] | null>(null)
  /** The group it was picked from. */
  group = $state.raw<Recorded['group'] | null>(null)

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
          check: this.check,
          ...(this.tokens === null ? {} : { tokens: [...this.tokens] }),
          ...(this.length === '' ? {} : { lengthTokens: Math.round(Number(this.length)) }),
          max_completion_length: this.limitTokens,
          ended: this.ended,
          reward: $state.snapshot(this.settings)
        }
  )

  keep(): void {
    const { completion, solution, length, limit, ended, origin, check, tokens, group } = this
    const settings = $state.snapshot(this.settings)
    const kept = { completion, solution, length, limit, ended, origin, check, tokens, group, settings }
    sessionStorage.setItem(KEY, JSON.stringify(kept))
  }

  /** Another completion than the one that was picked. */
  rewritten(): void {
    this.origin = null
    this.tokens = null
    this.group = null
  }

  /** Another right answer: it is compared by value. */
  solvedAnew(): void {
    this.check = EQUAL
  }

  /** A rollout as its run graded it. */
  take(rollout: Recorded, origin: string): void {
    this.completion = rollout.completion
    this.solution = rollout.solution ?? ''
    this.length = String(rollout.length)
    this.limit = String(rollout.max_completion_length)
    this.ended = rollout.ended
    this.settings = rollout.reward
    this.check = rollout.check
    this.tokens = rollout.tokens
    this.group = rollout.group
    this.origin = `${origin}: ${rollout.prompt}`
  }

  example(): void {
    Object.assign(this, EXAMPLE, { length: '', ended: true, check: EQUAL })
    this.rewritten()
  }
}
