import { describe, expect, test } from 'vitest'
import { sftLoss, trainedTokens } from '../../../src/main/training/loss.ts'
import type { Coefficients, TokenArrays } from '../../../src/main/training/loss.ts'
import { mergeMetrics, readMetrics } from '../../../src/main/training/metric-sums.ts'
import { policyLoss, samplingDifference } from '../../../src/main/training/policy-loss.ts'
import type { LossType, Normaliser, PolicyLossSettings } from '../../../src/main/training/policy-loss.ts'
import { seeded } from '../../../src/shared/random.ts'

const plain: PolicyLossSettings = {
  lossType: 'grpo',
  ratio: 'token',
  clipLow: 0.2,
  clipHigh: 0.2,
  beta: 0,
  klTarget: 'old',
  klEstimator: 'k3',
  entropyCoef: 0
}

type Batch = Required<Omit<TokenArrays, 'mask' | 'top' | 'sequenceTokens'>> & { mask: Uint8Array }

/** Sequences of the given lengths with everything random; half of the tokens are far enough off to be clipped. */
function batch(lengths: readonly number[], seed: number): Batch {
  const random = seeded(seed, 'loss')
  const n = lengths.reduce((a, b) => a + b, 0)
  const array = (make: () => number): Float64Array => Float64Array.from({ length: n }, make)
  const logprobs = array(() => -0.1 - 2 * random.next())
  const advantageOf = lengths.map(() => random.normal())
  const sequence = Int32Array.from(lengths.flatMap((length, i) => Array.from({ length }, () => 10 + i)))
  return {
    logprobs,
    sequence,
    entropy: array(() => 3 * random.next()),
    oldLogprobs: logprobs.map((value) => value + 0.35 * random.normal()),
    referenceLogprobs: logprobs.map((value) => value + 0.5 * random.normal()),
    samplingLogprobs: logprobs.map((value) => value + 0.4 * random.normal()),
    advantages: Float64Array.from(sequence, (s) => advantageOf[s - 10]!),
    mask: Uint8Array.from({ length: n }, () => Number(random.next() > 0.2))
  }
}

function slice(b: Batch, from: number, to: number): Batch {
  const part = Object.entries(b).map(([name, array]) => [name, array.subarray(from, to)])
  return Object.fromEntries(part) as Batch
}

const normaliserOf = (b: Batch): Normaliser => ({
  sequences: new Set(b.sequence).size,
  tokens: trainedTokens(b),
  meanTokens: trainedTokens(b) + 3,
  maxCompletionLength: 40
})

/** Central differences of the scalar loss in double precision, by logprobs and by entropy. */
function differences(loss: (b: Batch) => number, b: Batch, name: 'logprobs' | 'entropy'): number[] {
  const h = 1e-6
  return Array.from(b[name], (value, t) => {
    const at = (x: number): number => {
      const moved = Float64Array.from(b[name])
      moved[t] = x
      return loss({ ...b, [name]: moved })
    }
    return (at(value + h) - at(value - h)) / (2 * h)
  })
}

const close = (actual: ArrayLike<number>, expected: ArrayLike<number>): void => {
  expect(actual.length).toBe(expected.length)
  for (let i = 0; i < actual.length; i++) expect(Math.abs(actual[i]! - expected[i]!)).toBeLessThan(2e-7)
}

const variants: readonly [string, Partial<PolicyLossSettings>][] = [
  ...(['grpo', 'dapo', 'dr_grpo', 'bnpo'] as const).flatMap((lossType): [string, Partial<PolicyLossSettings>][] => [
    [`${lossType} token`, { lossType }],
    [`${lossType} sequence`, { lossType, ratio: 'sequence', clipLow: 0.05, clipHigh: 0.05 }]
  ]),
  ['clip-higher', { clipHigh: 0.28 }],
  ['dual clip', { delta: 1.3 }],
  ...(['k1', 'k2', 'k3'] as const).flatMap((klEstimator): [string, Partial<PolicyLossSettings>][] => [
    [`${klEstimator} to old`, { klEstimator, beta: 0.3, klTarget: 'old' }],
    [`${klEstimator} to base`, { klEstimator, beta: 0.3, klTarget: 'base', ratio: 'sequence' }]
  ]),
  ['entropy', { entropyCoef: 0.4 }],
  ['sampling correction', { samplingCap: 1.2 }],
  ['sequence with correction', { samplingCap: 1.2, ratio: 'sequence', lossType: 'dapo' }],
  [
    'everything',
    { lossType: 'dapo', clipHigh: 0.28, delta: 2, beta: 0.1, klTarget: 'base', entropyCoef: 0.2, samplingCap: 2 }
  ]
]

describe.each(variants)('policy loss, %s', (_, changes) => {
  const settings = { ...plain, ...changes }
  const b = batch([7, 1, 12, 5], 3)
  const normaliser = normaliserOf(b)
  const whole = policyLoss(b, settings, normaliser)

  test('coefficients are the gradient of the loss', () => {
    const scalar = (moved: Batch): number => policyLoss(moved, settings, normaliser).loss
    close(whole.logprob, differences(scalar, b, 'logprobs'))
    close(whole.entropy, differences(scalar, b, 'entropy'))
  })

  test('parts add up to the whole', () => {
    const parts = [slice(b, 0, 7), slice(b, 7, 8), slice(b, 8, 25)].map((part) =>
      policyLoss(part, settings, normaliser)
    )
    expectSame(parts, whole)
  })

  test('masked tokens get nothing and count for nothing', () => {
    const noise = b.logprobs.map((value, t) => (b.mask[t] === 1 ? value : NaN))
    expect(policyLoss({ ...b, logprobs: noise }, settings, normaliser)).toEqual(whole)
    b.mask.forEach((trained, t) => trained || expect([whole.logprob[t], whole.entropy[t]]).toEqual([0, 0]))
  })
})

function expectSame(parts: readonly Coefficients[], whole: Coefficients): void {
  expect(Float32Array.from(parts.flatMap((part) => [...part.logprob]))).toEqual(whole.logprob)
  expect(Float32Array.from(parts.flatMap((part) => [...part.entropy]))).toEqual(whole.entropy)
  expect(parts.reduce((sum, part) => sum + part.loss, 0)).toBeCloseTo(whole.loss, 12)
  const merged = readMetrics(mergeMetrics(parts.map((part) => part.metrics)))
  const metrics = readMetrics(whole.metrics)
  expect(Object.keys(merged)).toEqual(Object.keys(metrics))
  for (const [name, value] of Object.entries(metrics)) expect(merged[name], name).toBeCloseTo(value, 12)
}

/** Two sequences: one token with A = 2, three tokens with A = −1. */
const small = (ratios: readonly number[]): TokenArrays => ({
  logprobs: Float64Array.from(ratios, (r) => Math.log(r) - 1),
  oldLogprobs: Float64Array.from(ratios, () => -1),
  entropy: Float64Array.of(1, 2, 3, 4),
  sequence: Int32Array.of(0, 1, 1, 1),
  advantages: Float64Array.of(2, -1, -1, -1)
})
const four: Normaliser = { sequences: 2, tokens: 4, meanTokens: 8, maxCompletionLength: 10 }

test.each<[LossType, number[]]>([
  ['grpo', [-2 / 2, 1 / 6, 1 / 6, 1 / 6]],
  ['bnpo', [-2 / 4, 1 / 4, 1 / 4, 1 / 4]],
  ['dapo', [-2 / 8, 1 / 8, 1 / 8, 1 / 8]],
  ['dr_grpo', [-2 / 20, 1 / 20, 1 / 20, 1 / 20]]
])('on policy the coefficient is −A over the normaliser: %s', (lossType, expected) => {
  const settings = { ...plain, lossType, beta: 0.5 } // k3 to the sampling policy has neither value nor slope there
  for (const ratio of ['token', 'sequence'] as const) {
    close(policyLoss(small([1, 1, 1, 1]), { ...settings, ratio }, four).logprob, expected)
  }
  const { oldLogprobs: _, ...first } = small([1, 1, 1, 1])
  close(policyLoss(first, settings, four).logprob, expected)
})

test('clipped by hand: loss, coefficients and clip metrics', () => {
  const result = policyLoss(small([1.5, 0.5, 1, 1.5]), { ...plain, lossType: 'bnpo' }, four)
  close(result.logprob, [0, 0, 1 / 4, 1.5 / 4])
  expect(result.loss).toBeCloseTo((-2 * 1.2 + 0.8 + 1 + 1.5) / 4, 12)
  const metrics = readMetrics(result.metrics)
  expect(metrics).toMatchObject({
    'clip_ratio/region_mean': 2 / 4,
    'clip_ratio/low_mean': 1 / 4,
    'clip_ratio/low_min': 0,
    'clip_ratio/high_mean': 1 / 4,
    'clip_ratio/high_max': 1,
    entropy: 2.5
  })
  const k3 = [1.5, 0.5, 1, 1.5].map((r) => 1 / r - 1 + Math.log(r))
  expect(metrics['kl']).toBeCloseTo(k3.reduce((a, b) => a + b) / 4, 12)
})

test('clip-higher lets a likely token grow further', () => {
  const at = (clipHigh: number): number => policyLoss(small([1.25, 1, 1, 1]), { ...plain, clipHigh }, four).logprob[0]!
  expect(at(0.2)).toBe(0)
  expect(at(0.28)).toBeCloseTo(-1.25, 6)
})

test('dual clip caps what a negative advantage is charged with', () => {
  const settings: PolicyLossSettings = { ...plain, lossType: 'bnpo', delta: 3 }
  const result = policyLoss(small([1, 1, 2.9, 5]), settings, four)
  close(result.logprob, [-2 / 4, 1 / 4, 2.9 / 4, 0])
  expect(result.loss).toBeCloseTo((-2 + 1 + 2.9 + 3) / 4, 12)
  expect(readMetrics(result.metrics)['clip_ratio/dual_mean']).toBe(1 / 4)
})

test('a sequence ratio is the geometric mean of its tokens, one for all', () => {
  const settings: PolicyLossSettings = { ...plain, lossType: 'bnpo', ratio: 'sequence' }
  const result = policyLoss(small([1.1, 0.5, 2, 1.1]), settings, four)
  const r = Math.cbrt(1.1)
  close(result.logprob, [-2.2 / 4, r / 4, r / 4, r / 4])
  expect(result.loss).toBeCloseTo((-2 * 1.1 + 3 * r) / 4, 12)
  const clipped = policyLoss(small([1.3, 0.5, 0.5, 0.5]), settings, four)
  close(clipped.logprob, [0, 0, 0, 0])
  expect(readMetrics(clipped.metrics)['clip_ratio/region_mean']).toBe(1)
})

test('the sampling correction is a capped constant on the policy term only', () => {
  const tokens = {
    ...small([1, 1, 1, 1]),
    samplingLogprobs: Float64Array.of(-1 - Math.log(1.5), -1 + Math.log(2), -1 - Math.log(9), -1)
  }
  const settings: PolicyLossSettings = { ...plain, lossType: 'bnpo', samplingCap: 2, entropyCoef: 0.4 }
  const result = policyLoss(tokens, settings, four)
  close(result.logprob, [(-2 * 1.5) / 4, 0.5 / 4, 2 / 4, 1 / 4])
  close(result.entropy, [-0.1, -0.1, -0.1, -0.1])
  const metrics = readMetrics(result.metrics)
  expect(metrics['sampling/importance_sampling_ratio/max']).toBe(2)
  expect(metrics['sampling/importance_sampling_ratio/mean']).toBeCloseTo((1.5 + 0.5 + 2 + 1) / 4, 12)
})

test('k1 as a loss pulls by a constant, k2 and k3 by the distance', () => {
  const coefficient = (klEstimator: 'k1' | 'k2' | 'k3'): number =>
    policyLoss(
      { ...small([1.1, 1, 1, 1]), advantages: new Float64Array(4) },
      { ...plain, lossType: 'bnpo', beta: 4, klEstimator },
      four
    ).logprob[0]!
  expect(coefficient('k1')).toBeCloseTo(1, 6)
  expect(coefficient('k2')).toBeCloseTo(Math.log(1.1), 6)
  expect(coefficient('k3')).toBeCloseTo(1 - 1 / 1.1, 6)
})

test('a missing array is named', () => {
  const tokens = small([1, 1, 1, 1])
  expect(() => policyLoss(tokens, { ...plain, beta: 1, klTarget: 'base' }, four)).toThrow('referenceLogprobs')
  expect(() => policyLoss(tokens, { ...plain, samplingCap: 2 }, four)).toThrow('samplingLogprobs')
})

test('absurd log-ratios stay finite and do not pull', () => {
  const tokens = { ...small([1, 1, 1, 1]), logprobs: Float64Array.of(-1, 99, -999, -1) }
  const result = policyLoss(tokens, { ...plain, beta: 0.1 }, four)
  expect(Number.isFinite(result.loss)).toBe(true)
  expect([result.logprob[1], result.logprob[2]]).toEqual([0, 0])
})

test('difference between decoder and trainer', () => {
  const metrics = readMetrics(
    samplingDifference(Float64Array.of(-1, -2, NaN), Float64Array.of(-1.5, -1.75, 0), Uint8Array.of(1, 1, 0))
  )
  expect(metrics).toEqual({
    'sampling/sampling_logp_difference/mean': 0.375,
    'sampling/sampling_logp_difference/max': 0.5
  })
})

test('sft: cross entropy over the tokens of the whole batch', () => {
  const b = { ...batch([7, 1, 12, 5], 5), top: Uint8Array.from({ length: 25 }, (_, t) => t % 2) }
  const tokens = trainedTokens(b)
  const whole = sftLoss(b, tokens)
  close(
    whole.logprob,
    differences((moved) => sftLoss(moved, tokens).loss, b, 'logprobs')
  )
  expect(whole.entropy).toEqual(new Float32Array(25))
  expectSame(
    [
      [0, 20],
      [20, 25]
    ].map(([from, to]) => sftLoss({ ...slice(b, from!, to!), top: b.top.subarray(from, to) }, tokens)),
    whole
  )
  const byHand = sftLoss(
    {
      logprobs: Float32Array.of(-1, -2, -4, -99),
      entropy: Float32Array.of(1, 1, 4, 9),
      sequence: Int32Array.of(0, 0, 1, 1),
      mask: Uint8Array.of(1, 1, 1, 0),
      top: Uint8Array.of(1, 0, 0, 1)
    },
    6
  )
  expect(byHand.logprob).toEqual(Float32Array.of(-1 / 6, -1 / 6, -1 / 6, 0))
  expect(readMetrics(byHand.metrics)).toEqual({ loss: 7 / 6, entropy: 2, num_tokens: 3, mean_token_accuracy: 1 / 3 })
  expect(() => sftLoss(b, 0)).toThrow(RangeError)
})

test('metric sums: names of some parts are kept, kinds are not mixed', () => {
  const merged = mergeMetrics([
    { a: { how: 'mean', sum: 2, weight: 1 } },
    { a: { how: 'mean', sum: 4, weight: 2 }, b: { how: 'max', value: -Infinity } }
  ])
  expect(readMetrics(merged)).toEqual({ a: 2 })
  expect(() => mergeMetrics([{ a: { how: 'sum', sum: 1 } }, { a: { how: 'max', value: 1 } }])).toThrow('metric a')
})
