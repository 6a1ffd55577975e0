/** Training learns, and a step that is not finite leaves no trace. */
import { describe, expect, test } from 'vitest'
import { LoraSettings } from '../../src/shared/recipe.ts'
import { createAdapter } from '../../src/main/engine/adapter.ts'
import { pack } from '../../src/main/engine/batch.ts'
import { loadModel } from '../../src/main/engine/model.ts'
import { AdamW } from '../../src/main/engine/optimizer.ts'
import { Parameters } from '../../src/main/engine/parameters.ts'
import { readBytes } from '../../src/main/engine/tensor.ts'
import { Trainer } from '../../src/main/engine/trainer.ts'
import type { LossFunction } from '../../src/main/engine/trainer.ts'
import { sftLoss } from '../../src/main/training/loss.ts'
import { golden, goldenPath, goldenSequence } from './golden.ts'
import { owner } from './owner.ts'

const own = owner()
const [batch] = pack([goldenSequence('sft', 0)], 32)
const predicted = batch!.at.length

async function setup(
  kind: 'adapter' | 'full',
  r = 8
): Promise<{ parameters: Parameters; trainer: Trainer; optimizer: AdamW }> {
  const file = kind === 'full' ? golden.parts.full.base : golden.parts.sft.base
  const model = own(await loadModel(goldenPath(file), own.backend(), { writable: kind === 'full' }))
  const adapter =
    kind === 'adapter' ? own(await createAdapter(model, LoraSettings.parse({ r, lora_alpha: 4 * r }), 1)) : null
  const parameters = own(new Parameters(model, adapter ? { kind: 'adapter', adapter } : { kind: 'full' }))
  const trainer = own(new Trainer(parameters, { keep: 'all', chunkQueries: 64, headRows: 32 }))
  const settings = { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weightDecay: 0, maxGradNorm: 1 }
  return { parameters, trainer, optimizer: own(new AdamW(parameters, settings)) }
}

const loss: LossFunction = (output) =>
  sftLoss({ ...output, sequence: new Int32Array(output.logprobs.length) }, predicted)

const RATES = { a: 2e-2, b: 2e-2, weight: 1e-2 }
const crossEntropy = (logprobs: Float32Array): number => -logprobs.reduce((sum, it) => sum + it, 0) / predicted

test.each([
  ['an adapter that starts at zero', 'adapter', 8],
  ['an adapter of rank 1', 'adapter', 1],
  ['every weight', 'full', 0]
] as const)('one example is memorised in 60 steps by %s', async (_, kind, r) => {
  const { trainer, optimizer } = await setup(kind, r)
  const before = crossEntropy(trainer.score(batch!).logprobs)
  expect(before).toBeGreaterThan(4)
  for (let step = 0; step < 60; step++) {
    trainer.accumulate(batch!, loss)
    optimizer.step(RATES)
  }
  expect(crossEntropy(trainer.score(batch!).logprobs)).toBeLessThan(0.05)
})

test('an adapter that starts at zero is the base, and the reference does not move with training', async () => {
  const { trainer, optimizer } = await setup('adapter')
  const base = trainer.score(batch!, { reference: true })
  expect(trainer.score(batch!).logprobs).toEqual(base.logprobs)
  trainer.accumulate(batch!, loss)
  optimizer.step(RATES)
  expect(trainer.score(batch!).logprobs).not.toEqual(base.logprobs)
  expect(trainer.score(batch!, { reference: true })).toEqual(base)
})

describe.each(['adapter', 'full'] as const)('a gradient that is not finite: %s', (kind) => {
  test.each([
    ['an infinite coefficient', Infinity],
    ['a coefficient that is no number', NaN]
  ])('%s: the step is skipped, parameters and state stay bit for bit, the next step works', async (_, bad) => {
    const { parameters, trainer, optimizer } = await setup(kind)
    const { backend } = parameters.model
    const state = (): Uint8Array[] =>
      parameters.list.flatMap(({ value, m, v }) => [value, m, v].map((it) => readBytes(backend, it)))
    trainer.accumulate(batch!, loss)
    expect(optimizer.step(RATES).applied).toBe(true)
    const before = state()
    const scored = trainer.score(batch!)

    trainer.accumulate(batch!, (output, from) => {
      const { logprob, entropy } = loss(output, from)
      return { logprob: logprob.map((it, i) => (i === 3 ? bad : it)), entropy }
    })
    const { gradNorm, applied } = optimizer.step(RATES)
    expect(applied).toBe(false)
    expect(Number.isFinite(gradNorm)).toBe(false)
    expect(optimizer.steps).toBe(1)
    expect(state()).toEqual(before)
    expect(trainer.score(batch!)).toEqual(scored)

    trainer.accumulate(batch!, loss)
    expect(optimizer.step(RATES)).toMatchObject({ applied: true, gradNorm: expect.closeTo(0, -3) as number })
    expect(crossEntropy(trainer.score(batch!).logprobs)).toBeLessThan(crossEntropy(scored.logprobs))
  })
})

test('gradients of several rows add up until the optimizer takes them', async () => {
  const { parameters, trainer, optimizer } = await setup('adapter')
  const { backend } = parameters.model
  const gradient = parameters.list.find(({ group }) => group === 'b')!.gradient
  trainer.accumulate(batch!, loss)
  const once = new Float32Array(readBytes(backend, gradient).buffer)
  trainer.accumulate(batch!, loss)
  const twice = new Float32Array(readBytes(backend, gradient).buffer)
  expect(twice).toEqual(once.map((it) => 2 * it))
  optimizer.step(RATES)
  expect(readBytes(backend, gradient).every((byte) => byte === 0)).toBe(true)
})
