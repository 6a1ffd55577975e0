/**
 * The GRPO family of losses (to be minimised) over the tokens of sampled completions:
 *
 *   Σ_t w_t · [ c_t · policy_t + β · kl_t − γ · entropy_t ]
 *
 *   policy_t   −min(r·A, clip(r, 1−ε_low, 1+ε_high)·A), and with `delta` and A < 0 at most delta·|A| (dual clip, verl).
 *              Clipped tokens have gradient zero.
 *   r          `token`: π_θ/π_old of the token. `sequence`: exp of the mean log-ratio over the sequence's tokens, one
 *              number for all of them (GSPO, arXiv 2507.18071; TRL importance_sampling_level).
 *   kl_t       k1 = d, k2 = d²/2, k3 = e^−d + d − 1 with d = log π_θ − log π_target, differentiated as it stands (TRL,
 *              verl's kl loss). At d = 0 the gradients are 1, 0, 0: k1 as a loss only adds noise around zero mean.
 *   entropy_t  differentiable entropy of the whole distribution (verl), not the sampled −log π.
 *   c_t        1, or min(π_old/π_sampling, cap): truncated importance weight of the decoder's arithmetic against the
 *              trainer's; constant, on the policy term only (TRL, verl).
 *   w_t        grpo     1/(N·|o_i|)      N sequences of the optimizer batch, |o_i| trained tokens of the sequence
 *              dapo     1/meanTokens     tokens of the step's rollouts over its number of optimizer batches (TRL, verl)
 *              bnpo     1/tokens         tokens of this optimizer batch alone
 *              dr_grpo  1/(N·L_max)      L_max the completion limit, a constant (arXiv 2503.20783)
 *
 * Report (arXiv 2504.21318, objective): `grpo`, `token`, KL against the policy that sampled, β = γ = 0.001.
 * Log-ratios are cut to ±20 before exp, as in verl; beyond, the gradient is zero. Left out: CISPO, SAPO, per-token advantages.
 */
import { isTrained } from './loss.ts'
import type { Coefficients, Floats, TokenArrays } from './loss.ts'
import { highest, lowest, mean, total } from './metric-sums.ts'
import type { MetricSums } from './metric-sums.ts'

export type LossType = 'grpo' | 'dapo' | 'dr_grpo' | 'bnpo'
export type KlEstimator = 'k1' | 'k2' | 'k3'

export type PolicyLossSettings = {
  readonly lossType: LossType
  readonly ratio: 'token' | 'sequence'
  /** ε below 1 and ε above 1. */
  readonly clipLow: number
  readonly clipHigh: number
  /** Dual clip: the largest ratio that negative advantages are charged with. At least 1 + clipHigh to be of sense. */
  readonly delta?: number
  readonly beta: number
  readonly klTarget: 'old' | 'base'
  readonly klEstimator: KlEstimator
  readonly entropyCoef: number
  /** The cap of the truncated sampling correction; left out: no correction. */
  readonly samplingCap?: number
}

/** What the sums are divided by: numbers of the whole optimizer batch, whatever part of it is passed. */
export type Normaliser = {
  readonly sequences: number
  readonly tokens: number
  /** Trained tokens of all optimizer batches of the step over their number; equals `tokens` when there is one. */
  readonly meanTokens: number
  readonly maxCompletionLength: number
}

const WEIGHTS: Record<LossType, (n: Normaliser, length: number) => number> = {
  grpo: (n, length) => 1 / (n.sequences * length),
  dapo: (n) => 1 / n.meanTokens,
  bnpo: (n) => 1 / n.tokens,
  dr_grpo: (n) => 1 / (n.sequences * n.maxCompletionLength)
}

/** Value and derivative by d = log π_θ − log π_target. */
const KL: Record<KlEstimator, (d: number) => readonly [value: number, slope: number]> = {
  k1: (d) => [d, 1],
  k2: (d) => [(d * d) / 2, d],
  k3: (d) => [Math.exp(-cut(d)) + cut(d) - 1, Math.abs(d) > 20 ? 0 : 1 - Math.exp(-d)]
}

const cut = (logRatio: number): number => Math.min(20, Math.max(-20, logRatio))

type Surrogate = {
  /** −min(...), dual clip included. */
  readonly value: number
  /** d value / d log r. */
  readonly slope: number
  readonly clippedLow: boolean
  readonly clippedHigh: boolean
  readonly clippedDual: boolean
}

function surrogate(logRatio: number, advantage: number, settings: PolicyLossSettings): Surrogate {
  const ratio = Math.exp(cut(logRatio))
  const clippedLow = advantage < 0 && ratio < 1 - settings.clipLow
  const clippedHigh = advantage > 0 && ratio > 1 + settings.clipHigh
  const clippedDual = advantage < 0 && settings.delta !== undefined && ratio > settings.delta
  const clipped = clippedLow || clippedHigh || clippedDual
  const used = clippedLow
    ? 1 - settings.clipLow
    : clippedHigh
      ? 1 + settings.clipHigh
      : clippedDual
        ? settings.delta!
        : ratio
  const flat = clipped || Math.abs(logRatio) > 20
  return { value: -used * advantage, slope: flat ? 0 : -ratio * advantage, clippedLow, clippedHigh, clippedDual }
}

/** Trained tokens of each contiguous run of one sequence index. */
function runs(tokens: TokenArrays): number[][] {
  const found: number[][] = []
  let current: number | undefined
  for (let t = 0; t < tokens.sequence.length; t++) {
    if (tokens.sequence[t] !== current) found.push([])
    current = tokens.sequence[t]
    if (isTrained(tokens, t)) found.at(-1)!.push(t)
  }
  return found.filter((run) => run.length > 0)
}

const need = (array: Floats | undefined, name: string): Floats => {
  if (!array) throw new RangeError(`this loss needs ${name}`)
  return array
}

/**
 * Loss and coefficients of a part of an optimizer batch (see the head of this file for every term).
 *
 * Metrics (TRL, grpo_trainer): `policy_loss`, `loss`, `kl`, `entropy`, `clip_ratio/{region_mean,low_mean,low_min,high_mean,
 * high_max}` (means over tokens, over sequences with a sequence ratio; low_min and high_max over the sequences' own
 * shares), `sampling/importance_sampling_ratio/{min,mean,max}` where corrected. Ours: `clip_ratio/dual_mean` with `delta`.
 * `kl` is reported whenever the target's logprobs are there, also with β = 0.
 */
export function policyLoss(tokens: TokenArrays, settings: PolicyLossSettings, normaliser: Normaliser): Coefficients {
  const n = tokens.logprobs.length
  const logprob = new Float32Array(n)
  const entropy = new Float32Array(n)
  const advantages = need(tokens.advantages, 'advantages')
  const old = tokens.oldLogprobs ?? tokens.logprobs
  const target = settings.klTarget === 'old' ? old : tokens.referenceLogprobs
  if (settings.beta > 0) need(target, 'referenceLogprobs')
  const sampling = settings.samplingCap === undefined ? undefined : need(tokens.samplingLogprobs, 'samplingLogprobs')
  const kl = KL[settings.klEstimator]
  const sums = {
    policy: 0,
    klLoss: 0,
    entropyLoss: 0,
    kl: 0,
    entropy: 0,
    tokens: 0,
    low: 0,
    high: 0,
    dual: 0,
    counted: 0
  }
  const extremes = { lowMin: Infinity, highMax: -Infinity, weightMin: Infinity, weightMax: -Infinity, weight: 0 }

  for (const run of runs(tokens)) {
    const weight = WEIGHTS[settings.lossType](normaliser, tokens.sequenceTokens?.[run[0]!] ?? run.length)
    const bySequence = settings.ratio === 'sequence'
    const meanLogRatio = run.reduce((sum, t) => sum + tokens.logprobs[t]! - old[t]!, 0) / run.length
    let low = 0
    let high = 0
    let dual = 0
    let shared = 0
    for (const t of run) {
      const correction = sampling ? Math.min(settings.samplingCap!, Math.exp(cut(old[t]! - sampling[t]!))) : 1
      const logRatio = bySequence ? meanLogRatio : tokens.logprobs[t]! - old[t]!
      const policy = surrogate(logRatio, advantages[t]!, settings)
      sums.policy += weight * correction * policy.value
      if (bySequence) shared += (weight * correction * policy.slope) / run.length
      else logprob[t] = weight * correction * policy.slope
      low += Number(policy.clippedLow)
      high += Number(policy.clippedHigh)
      dual += Number(policy.clippedDual)
      extremes.weightMin = Math.min(extremes.weightMin, correction)
      extremes.weightMax = Math.max(extremes.weightMax, correction)
      extremes.weight += correction
    }
    for (const t of run) {
      const [value, slope] = target ? kl(tokens.logprobs[t]! - target[t]!) : [0, 0]
      if (bySequence) logprob[t] = shared
      logprob[t] = logprob[t]! + settings.beta * weight * slope
      entropy[t] = -settings.entropyCoef * weight
      sums.kl += value
      sums.klLoss += settings.beta * weight * value
      sums.entropy += tokens.entropy[t]!
      sums.entropyLoss -= settings.entropyCoef * weight * tokens.entropy[t]!
    }
    const unit = bySequence ? run.length : 1
    sums.tokens += run.length
    sums.counted += run.length / unit
    sums.low += low / unit
    sums.high += high / unit
    sums.dual += dual / unit
    extremes.lowMin = Math.min(extremes.lowMin, low / run.length)
    extremes.highMax = Math.max(extremes.highMax, high / run.length)
  }

  const loss = sums.policy + sums.klLoss + sums.entropyLoss
  return {
    logprob,
    entropy,
    loss,
    metrics: {
      loss: total(loss),
      policy_loss: total(sums.policy),
      entropy: mean(sums.entropy, sums.tokens),
      ...(target && { kl: mean(sums.kl, sums.tokens) }),
      'clip_ratio/region_mean': mean(sums.low + sums.high, sums.counted),
      'clip_ratio/low_mean': mean(sums.low, sums.counted),
      'clip_ratio/low_min': lowest(extremes.lowMin),
      'clip_ratio/high_mean': mean(sums.high, sums.counted),
      'clip_ratio/high_max': highest(extremes.highMax),
      ...(settings.delta !== undefined && { 'clip_ratio/dual_mean': mean(sums.dual, sums.counted) }),
      ...(sampling && {
        'sampling/importance_sampling_ratio/min': lowest(extremes.weightMin),
        'sampling/importance_sampling_ratio/mean': mean(extremes.weight, sums.tokens),
        'sampling/importance_sampling_ratio/max': highest(extremes.weightMax)
      })
    }
  }
}

/**
 * How far the decoder's arithmetic is from the trainer's: |log p_train − log p_decode| over trained tokens of the *same*
 * policy, nats. Metrics `sampling/sampling_logp_difference/{mean,max}` (TRL).
 */
export function samplingDifference(trainLogprobs: Floats, decodeLogprobs: Floats, mask?: Uint8Array): MetricSums {
  let sum = 0
  let most = -Infinity
  let count = 0
  for (let t = 0; t < trainLogprobs.length; t++) {
    if (mask && mask[t] !== 1) continue
    const difference = Math.abs(trainLogprobs[t]! - decodeLogprobs[t]!)
    sum += difference
    most = Math.max(most, difference)
    count++
  }
  return {
    'sampling/sampling_logp_difference/mean': mean(sum, count),
    'sampling/sampling_logp_difference/max': highest(most)
  }
}
