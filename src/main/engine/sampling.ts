/**
 * Drawing a token from a row of probabilities. Filters as in Transformers: temperature first, then top-k, top-p, min-p, each
 * on what the one before left; what remains is renormalised.
 */
import { AppError } from '../../shared/errors.ts'
import type { Random } from '../../shared/random.ts'
import type { SamplingSettings } from '../../shared/recipe.ts'

export type Draw = {
  readonly token: number
  /** Its probability among what the filters left. */ readonly probability: number
}

export const isFiltered = (settings: SamplingSettings): boolean =>
  settings.top_k > 0 || settings.top_p < 1 || settings.min_p > 0

/** Always the likeliest token, the first of equals. Throws AppError('training') for a row with a NaN. */
export function likeliest(row: Float32Array): Draw {
  let token = 0
  let sum = 0
  for (let i = 0; i < row.length; i++) {
    sum += row[i]!
    if (row[i]! > row[token]!) token = i
  }
  if (!isProbability(sum)) throw noDistribution()
  return { token, probability: 1 } // what was drawn from had one token left
}

/** NaN fails every comparison. A little over one is rounding. */
const isProbability = (sum: number): boolean => sum > 0 && sum < 1.01

const noDistribution = (): AppError =>
  new AppError(
    'training',
    'the model computes logits that are not finite, so no token can be drawn',
    'Training has diverged, or the file is damaged: sample without the adapter to tell; lower learning_rate and start from an earlier checkpoint.'
  )

/** Draws from `row` (probabilities that sum to one, within rounding). Throws AppError('training') when it is none. */
export function draw(row: Float32Array, settings: SamplingSettings, random: Random): Draw {
  return isFiltered(settings) ? drawFrom(candidates(row, settings), random) : drawFromAll(row, random)
}

function drawFromAll(row: Float32Array, random: Random): Draw {
  const target = random.next()
  let sum = 0
  let last = 0
  for (let token = 0; token < row.length; token++) {
    const p = row[token]!
    if (p <= 0) continue // NaN stays, and makes the sum NaN
    sum += p
    last = token
    if (sum > target) return { token, probability: p }
  }
  if (!isProbability(sum)) throw noDistribution()
  return { token: last, probability: row[last]! } // rounding left the sum just under the target
}

type Candidates = { readonly tokens: number[]; readonly probabilities: number[]; readonly sum: number }

function drawFrom({ tokens, probabilities, sum }: Candidates, random: Random): Draw {
  const target = random.next() * sum
  let reached = 0
  for (let i = 0; i < tokens.length; i++) {
    reached += probabilities[i]!
    if (reached > target || i === tokens.length - 1) return { token: tokens[i]!, probability: probabilities[i]! / sum }
  }
  throw noDistribution()
}

/**
 * What the filters leave, likeliest first (ties by token id). Only tokens above a bound that the filters cannot keep
 * anything under are sorted: for top-p, tokens under (1 − p) / V add up to less than is cut.
 */
export function candidates(row: Float32Array, settings: SamplingSettings): Candidates {
  let most = 0
  for (let token = 0; token < row.length; token++) if (row[token]! > most) most = row[token]!
  // with top-k in front, min-p and top-p see renormalised values; relative to the maximum min-p is the same either way
  const bound = Math.max(
    settings.min_p * most,
    settings.top_k === 0 && settings.top_p < 1 ? (1 - settings.top_p) / row.length : 0
  )
  const floor = settings.top_k > 0 ? Math.max(bound, kthLargest(row, settings.top_k)) : bound
  let kept: number[] = []
  for (let token = 0; token < row.length; token++) if (row[token]! >= floor && row[token]! > 0) kept.push(token)
  kept.sort((a, b) => row[b]! - row[a]! || a - b)
  if (settings.top_k > 0) kept = kept.slice(0, settings.top_k)
  if (settings.top_p < 1) {
    const total = settings.top_k > 0 ? kept.reduce((sum, token) => sum + row[token]!, 0) : 1
    let sum = 0
    let count = 0
    while (count < kept.length && sum < settings.top_p * total) sum += row[kept[count++]!]!
    kept = kept.slice(0, Math.max(1, count))
  }
  const probabilities = kept.map((token) => row[token]!)
  return { tokens: kept, probabilities, sum: probabilities.reduce((sum, p) => sum + p, 0) }
}

/** The k-th largest value, by a heap of k: most values are turned away by one comparison. */
function kthLargest(row: Float32Array, k: number): number {
  if (k >= row.length) return 0
  const heap = row.slice(0, k).sort() // ascending: a valid min-heap
  for (let i = k; i < row.length; i++) {
    const value = row[i]!
    if (value <= heap[0]!) continue
    let at = 0
    for (;;) {
      let child = 2 * at + 1
      if (child >= k) break
      if (child + 1 < k && heap[child + 1]! < heap[child]!) child++
      if (heap[child]! >= value) break
      heap[at] = heap[child]!
      at = child
    }
    heap[at] = value
  }
  return heap[0]!
}
