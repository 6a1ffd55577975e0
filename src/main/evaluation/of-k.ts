/** What k tries are worth: pass@k and the aggregates best, worst, average and majority of k. */
import type { Random } from '../../shared/random.ts'
import { average } from './statistics.ts'

/**
 * Unbiased pass@k of one task from n tries of which c were correct: 1 − C(n−c, k)/C(n, k), as a product that does not
 * overflow (arXiv 2107.03374). 0 if c = 0; 1 if k ≥ n and c > 0.
 */
export function passAtK(n: number, c: number, k: number): number {
  if (c === 0) return 0
  if (n - c < k) return 1
  let allWrong = 1
  for (let i = n - c + 1; i <= n; i++) allWrong *= 1 - k / i
  return 1 - allWrong
}

/** One try as the aggregates see it: the extracted answer in its normal form (null: none found) and whether it is correct. */
export type Try = { readonly answer: string | null; readonly correct: boolean }

export type OfK = { readonly best: number; readonly worst: number; readonly average: number; readonly majority: number }

/**
 * Best, worst, average and majority of the first k tries of each task, averaged over tasks, 0…1. Majority: the most frequent
 * answer, missing answers dropped, ties decided by a seeded draw, then scored as one answer (Eureka ML Insights). A task
 * without any answer counts as wrong; Eureka drops such tasks, which flatters.
 */
export function ofK(tasks: readonly (readonly Try[])[], k: number, random: Random): OfK {
  const cut = tasks.map((tries) => tries.slice(0, k))
  const correct = cut.map((tries) => tries.map((one) => Number(one.correct)))
  return {
    best: average(correct.map((scores) => Math.max(...scores))),
    worst: average(correct.map((scores) => Math.min(...scores))),
    average: average(correct.map(average)),
    majority: average(cut.map((tries) => Number(majority(tries, random)?.correct ?? false)))
  }
}

/** The try that speaks for the most frequent answer; undefined where no try has an answer. */
function majority(tries: readonly Try[], random: Random): Try | undefined {
  const votes = new Map<string, Try[]>()
  for (const one of tries) if (one.answer !== null) votes.set(one.answer, [...(votes.get(one.answer) ?? []), one])
  const most = Math.max(0, ...[...votes.values()].map((same) => same.length))
  const leaders = [...votes.values()].filter((same) => same.length === most)
  if (leaders.length === 0) return undefined
  return (leaders.length === 1 ? leaders[0]! : random.pick(leaders))[0]
}
