/**
 * The distribution of a sum under random signs. Task means are fractions correct/runs, so with a common denominator all
 * differences are integers and the distribution over all 2^n sign patterns follows exactly by adding one task at a time:
 * no sampling, however many tasks. With one run each this is McNemar's exact test.
 */
import type { Random } from '../../shared/random.ts'

type Counts = readonly (readonly [correct: number, runs: number])[]

/** Widest table of sums, and additions into it: a quarter of a second and 32 MB at most. */
const EXACT_WIDTH = 4e6
const EXACT_ADDITIONS = 2e8
const MONTE_CARLO_SAMPLES = 20_000

/** Two-sided p-value: the share of sign patterns with |Σ ±d| ≥ |Σ d| for the task differences d = b − a. */
export function signFlipTest(
  a: Counts,
  b: Counts,
  random: Random
): { readonly p: number; readonly method: 'exact' | 'monte carlo' } {
  const denominator = [...a, ...b].reduce((multiple, [, runs]) => commonMultiple(multiple, runs), 1)
  const scaled = a.map(([correct, runs], i) => b[i]![0] * (denominator / b[i]![1]) - correct * (denominator / runs))
  const differences = scaled.filter((difference) => difference !== 0)
  const width = differences.reduce((sum, difference) => sum + Math.abs(difference), 0)
  return width <= EXACT_WIDTH && width * differences.length <= EXACT_ADDITIONS
    ? { p: exact(differences), method: 'exact' }
    : { p: monteCarlo(differences, random), method: 'monte carlo' }
}

function commonMultiple(a: number, b: number): number {
  const divisor = (x: number, y: number): number => (y === 0 ? x : divisor(y, x % y))
  return (a / divisor(a, b)) * b
}

/** With T = the sum of the |d| that get a plus, Σ ±|d| = 2T − width: so the distribution of T is all that is needed. */
function exact(differences: readonly number[]): number {
  const sizes = differences.map(Math.abs)
  const width = sizes.reduce((sum, size) => sum + size, 0)
  const observed = Math.abs(differences.reduce((sum, difference) => sum + difference, 0))
  const share = new Float64Array(width + 1)
  share[0] = 1
  let reached = 0
  for (const size of sizes) {
    reached += size
    for (let total = reached; total >= 0; total--)
      share[total] = (share[total]! + (total >= size ? share[total - size]! : 0)) / 2
  }
  let p = 0
  for (let total = 0; total <= width; total++) if (Math.abs(2 * total - width) >= observed) p += share[total]!
  return Math.min(1, p)
}

/** The observed pattern counts as one of the samples, so p is never 0 (Phipson and Smyth 2010). */
function monteCarlo(differences: readonly number[], random: Random): number {
  const observed = Math.abs(differences.reduce((sum, difference) => sum + difference, 0))
  let asFar = 1
  for (let sample = 0; sample < MONTE_CARLO_SAMPLES; sample++) {
    let sum = 0
    for (const difference of differences) sum += random.next() < 0.5 ? difference : -difference
    if (Math.abs(sum) >= observed) asFar++
  }
  return asFar / (MONTE_CARLO_SAMPLES + 1)
}
