/** A rollout's reward as the sum it is: each component, its weight, and what it brings. Pure. */
import type { SampleRow } from '../../../shared/event.ts'

export type RewardPart = {
  readonly name: string
  /** The component's own score. */
  readonly score: number
  /** Null where the record does not hold it. */
  readonly weight: number | null
  /** Score times weight, null without a weight. */
  readonly contribution: number | null
}

/** What a component says, for a person who meets its name for the first time. */
export const COMPONENT_WORDS: Readonly<Record<string, string>> = {
  accuracy: 'Correct or not, scaled by the length of the answer: 0.5 to 1 for a correct one, −1 to −0.5 for a wrong one; an answer that was cut off or has no thought gets a fixed value.',
  repetition: 'A penalty for repeated runs of tokens: 0 without any, negative with them.'
}

/** Sums of products in other orders differ in the last bits. */
const SAME = 1e-6

/** The parts, and whether they add up to the reward: null where a weight is not recorded. */
export function rewardParts({ rewards, weights, reward }: Pick<SampleRow, 'rewards' | 'weights' | 'reward'>): {
  readonly parts: readonly RewardPart[]
  readonly addsUp: boolean | null
} {
  const parts = Object.entries(rewards).map(([name, score]): RewardPart => {
    const weight = weights?.[name] ?? null
    return { name, score, weight, contribution: weight === null ? null : weight * score }
  })
  if (parts.some(({ weight }) => weight === null)) return { parts, addsUp: null }
  const sum = parts.reduce((total, { contribution }) => total + contribution!, 0)
  return { parts, addsUp: Math.abs(sum - reward) <= SAME * Math.max(1, Math.abs(reward)) }
}
