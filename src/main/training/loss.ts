/**
 * Losses as pure functions from per-token numbers to per-token coefficients. The engine computes log-probability and
 * entropy of every trained token, a loss answers with dLoss/dlogprob and dLoss/dentropy, and the engine sends
 * `logprob·(onehot − softmax)` plus the entropy term back through the head. Nothing here knows a tensor.
 *
 * This file: the records and the cross entropy of SFT. `policy-loss.ts`: the GRPO family.
 */
import { mean, total } from './metric-sums.ts'
import type { MetricSums } from './metric-sums.ts'

export type Floats = Float32Array | Float64Array

/**
 * Per-token numbers of one optimizer batch or of a part of it; every array has length n. Tokens of one sequence stand
 * together. A part holds whole sequences, or names their lengths in `sequenceTokens` (and then only its coefficients are
 * of use, and only of losses that need no more than the token itself).
 */
export type TokenArrays = {
  /** log π_θ(token), natural logarithm, under the temperature the rollouts were sampled with. */
  readonly logprobs: Floats
  /** Entropy of the distribution at the token's position, nats. */
  readonly entropy: Floats
  /** Index of the sequence each token belongs to: contiguous runs, any numbers. */
  readonly sequence: Int32Array
  /** Trained tokens of the whole sequence that each token belongs to, where this part may cut it. */
  readonly sequenceTokens?: Int32Array
  /** 1: trained; 0: counts nowhere and gets zero coefficients. Left out: all are trained. */
  readonly mask?: Uint8Array
  /** log-probability under the policy that sampled. Left out: the present policy (ratio 1, gradient of the ratio kept). */
  readonly oldLogprobs?: Floats
  /** log-probability under the frozen base, for `klTarget: 'base'`. */
  readonly referenceLogprobs?: Floats
  /** The decoder's own log-probability of the token, for the sampling correction. */
  readonly samplingLogprobs?: Floats
  /** Advantage of the sequence, repeated over its tokens. */
  readonly advantages?: Floats
  /** 1 where the target is the most likely token, for `mean_token_accuracy`. */
  readonly top?: Uint8Array
}

/** Gradient of a loss that is to be minimised, per token, with its value and metrics. Parts of a batch add up. */
export type Coefficients = {
  /** dLoss/dlogprob_t, length n. */
  readonly logprob: Float32Array
  /** dLoss/dentropy_t, length n. */
  readonly entropy: Float32Array
  /** This part's share of the batch's loss. */
  readonly loss: number
  readonly metrics: MetricSums
}

export const isTrained = (tokens: TokenArrays, t: number): boolean => tokens.mask === undefined || tokens.mask[t] === 1

/** How many tokens are trained, for the normalisers. */
export function trainedTokens(tokens: TokenArrays): number {
  let count = 0
  for (let t = 0; t < tokens.logprobs.length; t++) if (isTrained(tokens, t)) count++
  return count
}

/**
 * Cross entropy of SFT: −Σ log π(target) / `batchTokens`, nats. `batchTokens` is the number of trained tokens in the
 * *whole* optimizer batch, so that micro-batches of unequal length add up to the batch's mean instead of a mean of means.
 * Every token's coefficient is −1/batchTokens. Metrics: `loss`, `entropy`, `num_tokens`, `mean_token_accuracy` where
 * `top` is given (TRL, sft_trainer).
 */
export function sftLoss(tokens: TokenArrays, batchTokens: number): Coefficients {
  if (!(batchTokens > 0)) throw new RangeError('batchTokens is the number of trained tokens of the optimizer batch')
  const n = tokens.logprobs.length
  const logprob = new Float32Array(n)
  let negative = 0
  let entropy = 0
  let hits = 0
  let trained = 0
  for (let t = 0; t < n; t++) {
    if (!isTrained(tokens, t)) continue
    logprob[t] = -1 / batchTokens
    negative -= tokens.logprobs[t]!
    entropy += tokens.entropy[t]!
    hits += tokens.top?.[t] ?? 0
    trained++
  }
  const loss = negative / batchTokens
  return {
    logprob,
    entropy: new Float32Array(n),
    loss,
    metrics: {
      loss: total(loss),
      entropy: mean(entropy, trained),
      num_tokens: total(trained),
      ...(tokens.top && { mean_token_accuracy: mean(hits, trained) })
    }
  }
}
