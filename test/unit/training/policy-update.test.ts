/** The training half of a GRPO step on a trainer that only remembers: how rollouts are shared out and what is counted. */
import { expect, test } from 'vitest'
import { seeded } from '../../../src/shared/random.ts'
import { GrpoRecipe } from '../../../src/shared/recipe.ts'
import type { PackedBatch } from '../../../src/main/engine/batch.ts'
import type { HeadOutput } from '../../../src/main/engine/head.ts'
import type { AdamW } from '../../../src/main/engine/optimizer.ts'
import type { LossFunction, Trainer } from '../../../src/main/engine/trainer.ts'
import { readMetrics } from '../../../src/main/training/metric-sums.ts'
import { policyUpdate } from '../../../src/main/training/policy-update.ts'
import type { PolicyUpdate } from '../../../src/main/training/policy-update.ts'
import type { Group } from '../../../src/main/training/rollouts.ts'

const TOKENS = 4

/** A group of rollouts of four tokens each, all with advantage 1. */
function group(rollouts: number): Group {
  const rollout = { tokens: new Int32Array(TOKENS).fill(5), logprobs: new Float32Array(TOKENS).fill(-1) }
  const scored = Array.from({ length: rollouts }, () => ({ rollout, advantage: 1 }))
  return { prompt: Int32Array.of(1, 2), scored } as unknown as Group
}

type Seen = { update: PolicyUpdate; batches: number; coefficients: number; smallest: number }

/**
 * `coefficients` is the sum of dLoss/dlogprob over everything that was accumulated, as the optimizer scales it; `smallest` the
 * smallest one that the backward was given.
 */
async function updated(groups: readonly Group[], settings: object, applied = true): Promise<Seen> {
  const recipe = GrpoRecipe.parse({
    kind: 'grpo',
    base: 'b',
    output_dir: 'o',
    tasks: [{ family: 'linear' }],
    ...settings
  })
  const output = ({ at }: PackedBatch): HeadOutput => ({
    logprobs: new Float32Array(at.length).fill(-1),
    entropy: new Float32Array(at.length),
    top: new Uint8Array(at.length)
  })
  let batches = 0
  let coefficients = 0
  let accumulated = 0
  let smallest = Infinity
  const trainer = {
    score: output,
    accumulate: (batch: PackedBatch, loss: LossFunction) => {
      const { logprob } = loss(output(batch), 0)
      accumulated += logprob.reduce((sum, value) => sum + value, 0)
      smallest = logprob.reduce((least, value) => Math.min(least, Math.abs(value)), smallest)
      return output(batch)
    }
  } as unknown as Trainer
  const optimizer = {
    step: (_rates: unknown, scale = 1) => {
      coefficients += accumulated * scale
      accumulated = 0
      batches++
      return { gradNorm: 1, applied, syncSeconds: 0.25 }
    }
  } as unknown as AdamW
  const rates = { a: 1, b: 1, weight: 1 }
  const update = await policyUpdate(trainer, optimizer, groups, recipe, 64, rates, seeded(0))
  return { update, batches, coefficients, smallest }
}

test('ten rollouts in four minibatches are four updates of two or three', async () => {
  const { batches, update } = await updated([group(10)], { minibatches: 4 })
  expect(batches).toBe(4)
  expect(update.updates).toBe(4)
  expect(update.syncSeconds).toBe(1)
})

test('with fewer rollouts than minibatches every rollout is an update, and all of them may be skipped', async () => {
  const { batches, update } = await updated([group(3)], { minibatches: 8, num_iterations: 2 }, false)
  expect(batches).toBe(6)
  expect(update).toMatchObject({ updates: 6, skipped: 6 })
})

test('dapo: the coefficients of all updates add up to their number, however the rollouts were shared out', async () => {
  const whole = await updated([group(3)], { loss_type: 'dapo', beta: 0 })
  expect(whole.coefficients).toBeCloseTo(-1, 5)
  const parts = await updated([group(3)], { loss_type: 'dapo', beta: 0, minibatches: 8 })
  expect(parts.coefficients).toBeCloseTo(-3, 5)
})

test('the loss of a step is the mean over its updates', async () => {
  const settings = { beta: 0, entropy_coef: 0 }
  const one = readMetrics((await updated([group(4)], settings)).update.metrics)
  const many = readMetrics(
    (await updated([group(4)], { ...settings, minibatches: 2, num_iterations: 3 })).update.metrics
  )
  expect(one['loss']).toBeCloseTo(-1, 5)
  expect(many['loss']).toBeCloseTo(-1, 5)
  expect(many['policy_loss']).toBeCloseTo(-1, 5)
})

test.each(['grpo', 'dapo', 'bnpo'])(
  '%s: the backward gets coefficients of order one, however many tokens there are',
  async (loss_type) => {
    const few = await updated([group(2)], { loss_type, beta: 0, entropy_coef: 0 })
    const many = await updated(
      Array.from({ length: 50 }, () => group(20)),
      { loss_type, beta: 0, entropy_coef: 0 }
    )
    for (const { smallest } of [few, many]) expect(smallest).toBeGreaterThan(0.1)
    expect(many.coefficients).toBeCloseTo(few.coefficients, 3)
  }
)
