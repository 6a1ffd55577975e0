/** The engine against PyTorch + PEFT, number by number, within the tolerances that the golden file states. */
import { describe, expect, test } from 'vitest'
import { loadAdapter } from '../../src/main/engine/adapter.ts'
import { pack } from '../../src/main/engine/batch.ts'
import type { TrainSequence } from '../../src/main/engine/batch.ts'
import { loadModel } from '../../src/main/engine/model.ts'
import { AdamW } from '../../src/main/engine/optimizer.ts'
import { Parameters } from '../../src/main/engine/parameters.ts'
import { readF32 } from '../../src/main/engine/tensor.ts'
import { Trainer } from '../../src/main/engine/trainer.ts'
import type { LossFunction, TrainerSettings } from '../../src/main/engine/trainer.ts'
import { sftLoss } from '../../src/main/training/loss.ts'
import type { TokenArrays } from '../../src/main/training/loss.ts'
import { readMetrics } from '../../src/main/training/metric-sums.ts'
import { policyLoss } from '../../src/main/training/policy-loss.ts'
import { expectClose } from './compare.ts'
import { logSoftmax } from './decode.ts'
import { expectGolden, golden, goldenArray, goldenNames, goldenPath, goldenSequence, goldenTokens } from './golden.ts'
import type { VariantSettings } from './golden.ts'
import { owner } from './owner.ts'
import { wholeDistribution } from './whole-distribution.ts'

const own = owner()
const SETTINGS: TrainerSettings = { keep: 'all', chunkQueries: 64, headRows: 64 }
const { adamw } = golden
const RATES = { a: adamw.lr, b: adamw.lr, weight: adamw.lr }

async function setup(
  part: 'sft' | 'full',
  settings: TrainerSettings
): Promise<{ parameters: Parameters; trainer: Trainer; optimizer: AdamW }> {
  const backend = own.backend()
  const model = own(await loadModel(goldenPath(golden.parts[part].base), backend, { writable: part === 'full' }))
  const adapter = part === 'sft' ? own(await loadAdapter(model, goldenPath(golden.parts.sft.adapter))) : null
  const parameters = own(new Parameters(model, adapter ? { kind: 'adapter', adapter } : { kind: 'full' }))
  const trainer = own(new Trainer(parameters, settings))
  const [beta1, beta2] = adamw.betas
  const { eps: epsilon, weight_decay: weightDecay, max_grad_norm: maxGradNorm } = adamw
  return {
    parameters,
    trainer,
    optimizer: own(new AdamW(parameters, { beta1, beta2, epsilon, weightDecay, maxGradNorm }))
  }
}

const sequencesOf = (part: 'sft' | 'full' | 'grpo'): TrainSequence[] =>
  Array.from({ length: golden.parts[part].sequences }, (_, i) => goldenSequence(part, i))

function expectParameters(parameters: Parameters, prefix: string, kind: 'grad' | 'after', scale = 1): void {
  const { backend } = parameters.model
  const names = goldenNames.filter((name) => name.startsWith(`${prefix}.`)).map((name) => name.slice(prefix.length + 1))
  expect(parameters.list.map(({ name }) => name).sort()).toEqual(names.sort())
  for (const { name, value, gradient } of parameters.list) {
    expectGolden(
      readF32(backend, kind === 'grad' ? gradient : value).map((x) => x * scale),
      `${prefix}.${name}`,
      kind
    )
  }
}

describe.each(['sft', 'full'] as const)('%s', (part) => {
  test('every logit, log-probability and entropy', async () => {
    const { parameters, trainer } = await setup(part, { ...SETTINGS, headRows: 512 })
    const { vocabulary } = parameters.model.config
    sequencesOf(part).forEach((sequence, i) => {
      const [batch] = pack([sequence], 64)
      const { logprobs, entropy } = trainer.score(batch!)
      expectClose(logprobs, goldenTokens(part, i, 'logprob'), golden.tolerances.logprob, `logprob of sequence ${i}`)
      expectClose(entropy, goldenTokens(part, i, 'entropy'), golden.tolerances.entropy, `entropy of sequence ${i}`)
      for (const what of part === 'sft' ? ['logits', 'base_logits'] : ['logits']) {
        const logits = goldenArray(`${part}.seq${i}.${what}`)
        const all = trainer.score(wholeDistribution(batch!, vocabulary), { reference: what === 'base_logits' })
        const ours = all.logprobs.subarray(0, logits.length)
        expectClose(ours, logSoftmax(logits, vocabulary), golden.tolerances.logits, `${what} of sequence ${i}`)
      }
    })
  })

  test.each([
    { keep: 'all', chunkQueries: 64, headRows: 64 },
    { keep: 'none', chunkQueries: 8, headRows: 5 }
  ] as const)('loss, every gradient, and AdamW steps with %o', async (settings) => {
    const { parameters, trainer, optimizer } = await setup(part, settings)
    const batches = pack(sequencesOf(part), 64)
    const tokens = batches.reduce((sum, batch) => sum + batch.at.length, 0)
    const losses: number[] = []
    const norms: number[] = []
    for (let step = 0; step < golden.parts[part].steps; step++) {
      let loss = 0
      for (const batch of batches) {
        trainer.accumulate(batch, ({ logprobs, entropy }, from) => {
          const sequence = batch.sequence.subarray(from, from + logprobs.length)
          const coefficients = sftLoss({ logprobs, entropy, sequence }, tokens)
          loss += coefficients.loss
          return coefficients
        })
      }
      if (step === 0) {
        expectGolden([loss], `${part}.loss`, 'loss')
        expectParameters(parameters, `${part}.grad`, 'grad')
      }
      const { gradNorm, applied } = optimizer.step(RATES)
      if (step === 0) expectGolden([gradNorm], `${part}.grad_norm`, 'grad_norm')
      expect(applied).toBe(true)
      losses.push(loss)
      norms.push(gradNorm)
    }
    expectGolden(losses, `${part}.losses`, 'losses')
    expectGolden(norms, `${part}.grad_norms`, 'grad_norm')
    expectParameters(parameters, `${part}.after`, 'after')
  })
})

const GRPO = golden.parts.grpo
const lengths = sequencesOf('grpo').map((_, i) => goldenTokens('grpo', i, 'logprob').length)
const tokensInAll = lengths.reduce((sum, n) => sum + n, 0)
const normaliser = {
  sequences: 4,
  tokens: tokensInAll,
  meanTokens: tokensInAll,
  maxCompletionLength: GRPO.max_completion
}

/** Golden arrays of the sequences of a row, in the order of its predicted tokens. */
function golds(members: readonly number[], what: string): Float32Array {
  return Float32Array.from(members.flatMap((i) => [...goldenTokens('grpo', i, what)]))
}

function tokenArrays(
  members: readonly number[],
  output: { logprobs: Float32Array; entropy: Float32Array }
): TokenArrays {
  const advantages = goldenArray('grpo.advantages')
  return {
    ...output,
    sequence: Int32Array.from(members.flatMap((i) => Array<number>(lengths[i]!).fill(i))),
    oldLogprobs: golds(members, 'old_logprob'),
    referenceLogprobs: golds(members, 'ref_logprob'),
    advantages: Float32Array.from(members.flatMap((i) => Array<number>(lengths[i]!).fill(advantages[i]!)))
  }
}

/**
 * The golden `entropy` variant averages the entropy over tokens whatever the loss type, ours weighs it as the policy term;
 * so its bonus is added as a `bnpo` loss that has nothing else in it.
 */
function goldenLoss(s: VariantSettings, tokens: TokenArrays): ReturnType<typeof policyLoss> {
  const common = {
    ratio: s.ratio,
    clipLow: s.epsilon_low,
    clipHigh: s.epsilon_high,
    ...(s.delta !== null && { delta: s.delta }),
    klTarget: 'base',
    klEstimator: s.kl
  } as const
  const main = policyLoss(tokens, { ...common, lossType: s.loss_type, beta: s.beta, entropyCoef: 0 }, normaliser)
  if (s.entropy_coef === 0) return main
  const silent = { ...tokens, advantages: new Float32Array(tokens.logprobs.length) }
  const bonus = policyLoss(silent, { ...common, lossType: 'bnpo', beta: 0, entropyCoef: s.entropy_coef }, normaliser)
  return { ...main, entropy: bonus.entropy, loss: main.loss + bonus.loss }
}

describe.each(Object.entries(GRPO.variants))('grpo variant %s', (name, { settings, metrics }) => {
  const all = [0, 1, 2, 3]

  test('loss, per-token coefficients and metrics from the same per-token numbers', () => {
    const tokens = tokenArrays(all, { logprobs: golds(all, 'logprob'), entropy: golds(all, 'entropy') })
    const loss = goldenLoss(settings, tokens)
    expectGolden([loss.loss], `grpo.${name}.loss`, 'loss')
    let offset = 0
    for (const i of all) {
      for (const what of settings.entropy_coef === 0 ? (['logprob'] as const) : (['logprob', 'entropy'] as const)) {
        const ours = loss[what].subarray(offset, offset + lengths[i]!)
        const theirs = goldenTokens('grpo', i, `dloss_d${what}`, `grpo.${name}`)
        expectClose(ours, theirs, golden.tolerances.dloss, `${name} ${what} of sequence ${i}`)
      }
      offset += lengths[i]!
    }
    const reported = readMetrics(loss.metrics)
    expect(reported['kl']).toBeCloseTo(metrics.kl, 5)
    expect(reported['entropy']).toBeCloseTo(metrics.entropy, 4)
    // with one ratio per sequence ours is the share of sequences, the golden file's that of tokens
    if (settings.ratio === 'token') expect(reported['clip_ratio/region_mean']).toBeCloseTo(metrics.clip_ratio, 5)
  })
})

const withGradients = Object.entries(GRPO.variants).filter(([, { gradients }]) => gradients)

describe.each(withGradients)('grpo variant %s', (name, { settings }) => {
  test.each([
    ['the whole batch in one chunk of the head', { maxTokens: 96, headRows: 64, wholeBatch: false }],
    ['whole batches, chunks of 5 tokens', { maxTokens: 96, headRows: 5, wholeBatch: true }],
    ['two rows that add up, chunks of 5 tokens', { maxTokens: 40, headRows: 5, wholeBatch: true }]
  ] as const)('every gradient: %s', async (_, { maxTokens, headRows, wholeBatch }) => {
    const { parameters, trainer, optimizer } = await setup('sft', { keep: 'all', chunkQueries: 32, headRows })
    let total = 0
    for (const batch of pack(sequencesOf('grpo'), maxTokens)) {
      const loss: LossFunction = (output) => {
        const coefficients = goldenLoss(settings, tokenArrays(batch.members, output))
        total += coefficients.loss
        return coefficients
      }
      trainer.accumulate(batch, loss, { wholeBatch })
    }
    expectGolden([total], `grpo.${name}.loss`, 'loss')
    expectParameters(parameters, `grpo.${name}.grad`, 'grad')
    const { gradNorm } = optimizer.step(RATES)
    expectGolden([gradNorm], `grpo.${name}.grad_norm`, 'grad_norm')
    if (name === 'grpo') expectParameters(parameters, 'grpo.after', 'after')
  })
})
