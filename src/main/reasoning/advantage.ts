/** Group-relative advantages (paper-facts 2.1 to 2.3): how much better a rollout did than its siblings. */
export type AdvantageSettings = {
  /** `group`: divide by the group's standard deviation. `none`: only subtract the mean (Dr. GRPO). */
  readonly scale: 'group' | 'none'
  readonly std: 'population' | 'sample'
  /** Added to the standard deviation. */
  readonly epsilon: number
}

export type GroupAdvantages = {
  readonly mean: number
  /** Of the kind asked for, without epsilon. */
  readonly std: number
  readonly advantages: readonly number[]
  /** All rewards equal: every advantage is exactly 0, and the group has nothing to teach. */
  readonly flat: boolean
}

/** The advantages of one group's rewards, in order. A group of one is flat. Throws on an empty group or a non-finite reward. */
export function groupAdvantages(rewards: readonly number[], settings: AdvantageSettings): GroupAdvantages {
  if (rewards.length === 0) throw new RangeError('a group without rewards')
  if (!rewards.every(Number.isFinite)) throw new RangeError(`a reward is not finite: ${rewards.join(', ')}`)
  const first = rewards[0]!
  if (rewards.every((reward) => reward === first)) {
    return { mean: first, std: 0, advantages: rewards.map(() => 0), flat: true }
  }
  const mean = rewards.reduce((sum, reward) => sum + reward, 0) / rewards.length
  const squares = rewards.reduce((sum, reward) => sum + (reward - mean) ** 2, 0)
  const std = Math.sqrt(squares / (settings.std === 'sample' ? rewards.length - 1 : rewards.length))
  const divisor = settings.scale === 'group' ? std + settings.epsilon : 1
  return { mean, std, advantages: rewards.map((reward) => (reward - mean) / divisor), flat: false }
}
