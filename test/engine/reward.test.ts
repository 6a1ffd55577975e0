/** A toy task's reward rises: sampling, advantages, the policy loss and AdamW together move the policy where it is paid. */
import { join } from 'node:path'
import { beforeAll, expect, it } from 'vitest'
import { createAdapter } from '../../src/main/engine/adapter.ts'
import { openBackend } from '../../src/main/engine/backend.ts'
import { loadModel } from '../../src/main/engine/model.ts'
import { AdamW } from '../../src/main/engine/optimizer.ts'
import { Parameters } from '../../src/main/engine/parameters.ts'
import { Sampler } from '../../src/main/engine/sampler.ts'
import { Trainer } from '../../src/main/engine/trainer.ts'
import { groupAdvantages } from '../../src/main/reasoning/advantage.ts'
import { policyUpdate } from '../../src/main/training/policy-update.ts'
import type { Group } from '../../src/main/training/rollouts.ts'
import { seeded } from '../../src/shared/random.ts'
import { GrpoRecipe, LoraSettings } from '../../src/shared/recipe.ts'
import { temporaryFolder } from './folder.ts'
import { owner } from './owner.ts'
import { TINY, writeTinyModel } from './tiny-model.ts'

const own = owner()
const path = join(temporaryFolder(), 'tiny.gguf')
beforeAll(() => {
  const backend = openBackend({ threads: 1 })
  writeTinyModel(backend, path)
  backend.dispose()
})

/** What is paid for: tokens of the lower half of the vocabulary. */
const paid = (tokens: Int32Array): number =>
  tokens.filter((token) => token < TINY.vocabulary / 2).length / tokens.length

it('the reward of a toy task rises over 12 steps', { timeout: 60_000 }, async () => {
  const model = own(await loadModel(path, own.backend()))
  const adapter = own(await createAdapter(model, LoraSettings.parse({ r: 8 }), 1))
  const parameters = own(new Parameters(model, { kind: 'adapter', adapter }))
  const trainer = own(new Trainer(parameters, { keep: 'all', chunkQueries: 64, headRows: 32 }))
  const optimizer = own(
    new AdamW(parameters, { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weightDecay: 0, maxGradNorm: 1 })
  )
  const sampler = own(new Sampler(model, { width: 16, contextTokens: 64 }))
  const recipe = GrpoRecipe.parse({
    kind: 'grpo',
    base: path,
    output_dir: '-',
    tasks: [{ family: 'arithmetic' }],
    loss_type: 'dapo'
  })
  const prompts = [10, 20, 30, 40].map((first) => Int32Array.from({ length: 5 }, (_, t) => first + t))

  const rewards: number[] = []
  let largestNorm = 0
  for (let step = 0; step < 12; step++) {
    const requests = prompts.map((prompt, i) => ({
      prompt,
      seeds: Array.from({ length: 8 }, (_, member) => `${step}/${i}/${member}`)
    }))
    const { groups } = await sampler.generate(requests, { sampling: recipe.sampling, maxTokens: 12, adapter })
    const earned = groups.map((rollouts) => rollouts.map(({ tokens }) => paid(tokens)))
    rewards.push(earned.flat().reduce((sum, reward) => sum + reward, 0) / earned.flat().length)
    const scored = groups.map((rollouts, i) => {
      const { advantages } = groupAdvantages(earned[i]!, { scale: 'group', std: 'sample', epsilon: 1e-6 })
      return {
        prompt: prompts[i]!,
        scored: rollouts.map((rollout, member) => ({ rollout, advantage: advantages[member]! }))
      }
    })
    const update = await policyUpdate(
      trainer,
      optimizer,
      scored as unknown as Group[],
      recipe,
      128,
      { a: 5e-3, b: 5e-3, weight: 0 },
      seeded(step)
    )
    largestNorm = Math.max(largestNorm, update.gradNorm)
    const difference = update.metrics['sampling/sampling_logp_difference/mean'] as unknown as {
      sum: number
      weight: number
    }
    expect(difference.sum / difference.weight).toBeLessThan(0.02) // F16 cache of the decoder
  }
  const early = (rewards[0]! + rewards[1]!) / 2
  const late = (rewards.at(-1)! + rewards.at(-2)!) / 2
  expect(largestNorm).toBeGreaterThan(0)
  expect(late, rewards.map((reward) => reward.toFixed(2)).join(' ')).toBeGreaterThan(early + 0.2)
})
