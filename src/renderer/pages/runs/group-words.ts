/** What a group of rollouts says, in words: what GRPO learns from it, and why not where it does not. */
import type { SampleRow } from '../../../shared/event.ts'
import { number } from '../../lib/format.ts'

const NUMBERS = ['no', 'one', 'two', 'three', 'four', 'five', 'six', 'seven', 'eight', 'nine', 'ten', 'eleven', 'twelve']
const word = (n: number): string => NUMBERS[n] ?? String(n)

/** Rewards this close are equal: no advantage comes from them. */
const SAME = 1e-9

export const verdictKind = (verdict: string): string => verdict.split(' ')[0] ?? verdict
const correct = (rows: readonly SampleRow[]): number => rows.filter(({ verdict }) => verdictKind(verdict) === 'correct').length

/** No rollout of it differs from another in reward. */
export const isFlat = (rows: readonly SampleRow[]): boolean =>
  Math.max(...rows.map(({ reward }) => reward)) - Math.min(...rows.map(({ reward }) => reward)) < SAME

/** `5 of 8 correct`. */
export const solved = (rows: readonly SampleRow[]): string => `${correct(rows)} of ${rows.length} correct`

/** One or two sentences. */
export function groupWords(rows: readonly SampleRow[]): string {
  const [right, all] = [correct(rows), rows.length]
  const every = `all ${word(all)} answers`
  if (isFlat(rows)) {
    const what = right === 0 ? `${every} wrong or unreadable` : right === all ? `${every} correct` : every
    return `${what[0]!.toUpperCase()}${what.slice(1)}, each with reward ${number(rows[0]!.reward, 3)}: no gradient from this group.`
  }
  const best = rows.reduce((a, b) => (b.reward > a.reward ? b : a))
  const worst = rows.reduce((a, b) => (b.reward < a.reward ? b : a))
  const pushed = `It pushes towards the answer of ${best.length} tokens (advantage ${number(best.advantage, 2)}) and away from the one of ${worst.length} (${number(worst.advantage, 2)}).`
  if (right === 0) return `${every[0]!.toUpperCase()}${every.slice(1)} wrong, yet their rewards differ by length or repetition. ${pushed}`
  if (right === all) return `${every[0]!.toUpperCase()}${every.slice(1)} correct; their rewards differ by length or repetition. ${pushed}`
  return `${word(right)[0]!.toUpperCase()}${word(right).slice(1)} of ${word(all)} answers correct. ${pushed}`
}

/** What an advantage does to an answer, in words. */
export const advantageWords = (advantage: number): string =>
  Math.abs(advantage) < SAME ? 'no push' : advantage > 0 ? 'made more likely' : 'made less likely'

/** How a rollout ended. */
export const stopWords = (stop: string): string =>
  ({ eos: 'ended by itself', length: 'cut off at the limit' })[stop] ?? stop
