/**
 * Drawing a token from a row of probabilities. Filters as in Transformers: temperature first, then top-k, top-p, min-p, each
 * on what the one before left; what remains is renormalised.
 */
import { AppError } from '../../shared/errors.ts'
import type { Random } from '../../shared/random.ts'
import type { SamplingSettings } from '../../shared/recipe.ts'
import { largest, nucleus } from './partial-selection.ts'

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
 * What the filters leave, likeliest first (ties by token id). Each filter keeps a beginning of that order, so only the
 * beginning is ever put in order (`partial-selection.ts`): with top-k its k tokens; without it, those at or above a bound
 * that the filters cannot keep anything under: tokens under (1 − p) / V add up to less than top-p cuts.
 */
export function candidates(row: Float32Array, { top_k, top_p, min_p }: SamplingSettings): Candidates {
  let tokens: number[]
  if (top_k > 0) {
    tokens = largest(row, top_k)
    // top-p sees what top-k left, renormalised; relative to the maximum min-p is the same either way
    const mass = top_p < 1 ? top_p * tokens.reduce((sum, token) => sum + row[token]!, 0) : Infinity
    let count = 0
    for (let sum = 0; count < tokens.length && (count === 0 || sum < mass); count++) sum += row[tokens[count]!]!
    const floor = min_p * (row[tokens[0] ?? 0] ?? 0)
    while (count > 0 && row[tokens[count - 1]!]! < floor) count--
    tokens = tokens.slice(0, count)
  } else {
    const floor = min_p > 0 ? min_p * greatest(row) : 0
    tokens = nucleus(row, Math.max(floor, top_p < 1 ? (1 - top_p) / row.length : 0), top_p < 1 ? top_p : Infinity)
  }
  const probabilities = tokens.map((token) => row[token]!)
  return { tokens, probabilities, sum: probabilities.reduce((sum, p) => sum + p, 0) }
}

function greatest(row: Float32Array): number {
  let most = 0
  for (let token = 0; token < row.length; token++) if (row[token]! > most) most = row[token]!
  return most
}
