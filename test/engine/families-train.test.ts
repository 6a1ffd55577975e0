/**
 * Every architecture through the trainer: packing, chunks of attention, kept and recomputed activations change nothing; whole
 * gradients, embedding and head included, against central differences; the memory plan; files of adapters.
 */
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { seeded } from '../../src/shared/random.ts'
import { SamplingSettings } from '../../src/shared/recipe.ts'
import { dumpAdapter, loadAdapter } from '../../src/main/engine/adapter.ts'
import type { Adapter } from '../../src/main/engine/adapter.ts'
import { modulesOf } from '../../src/main/engine/arch/targets.ts'
import { pack } from '../../src/main/engine/batch.ts'
import type { PackedBatch } from '../../src/main/engine/batch.ts'
import { layerScratch } from '../../src/main/engine/layer-scratch.ts'
import { planMemory } from '../../src/main/engine/memory.ts'
import { loadModel } from '../../src/main/engine/model.ts'
import type { Model } from '../../src/main/engine/model.ts'
import { Parameters } from '../../src/main/engine/parameters.ts'
import { peftConfig, peftTensors, writePeft } from '../../src/main/engine/peft.ts'
import { Sampler } from '../../src/main/engine/sampler.ts'
import { readF32 } from '../../src/main/engine/tensor.ts'
import { Trainer } from '../../src/main/engine/trainer.ts'
import type { TrainerSettings } from '../../src/main/engine/trainer.ts'
import { largestDifference, relativeDifference } from './compare.ts'
import { randomAdapter, randomSequence } from './decode-comparer.ts'
import { temporaryFolder } from './folder.ts'
import { owner } from './owner.ts'
import { FAMILIES, SMALL, TRAINED } from './tiny-families.ts'
import type { FamilyName, TinyFamily } from './tiny-families.ts'
import { writeFamily } from './tiny-model.ts'

const own = owner()
const folder = temporaryFolder()

async function small(name: FamilyName, writable = false): Promise<Model> {
  const family: TinyFamily = FAMILIES[name]
  const backend = own.backend()
  const path = join(folder, 'model.gguf')
  writeFamily(backend, path, { ...family, shape: { ...family.shape, ...SMALL } })
  return own(await loadModel(path, backend, { writable }))
}

/** Measured 8e-6; gemma3 5e-5: GELU's table of F16 makes steps of sums in another order. */
const bound = (name: string): number => (name.startsWith('gemma3') ? 5e-4 : 2e-5)

type Result = { readonly logprobs: Float32Array; readonly gradients: ReadonlyMap<string, Float32Array> }

/** Coefficients differ by token, so that exchanged tokens would be seen. */
function train(parameters: Parameters, batches: readonly PackedBatch[], settings: Partial<TrainerSettings>): Result {
  const trainer = new Trainer(parameters, {
    keep: 'all',
    chunkQueries: 64,
    headRows: 32,
    contextTokens: 300,
    ...settings
  })
  parameters.zeroGradients()
  const outputs = batches.map((batch) =>
    trainer.accumulate(batch, ({ logprobs }, from) => ({
      logprob: Float32Array.from(logprobs, (_, i) => -0.5 - (batch.targets[from + i]! % 7) / 7),
      entropy: new Float32Array(logprobs.length)
    }))
  )
  trainer.dispose()
  const { backend } = parameters.model
  return {
    logprobs: Float32Array.from(outputs.flatMap(({ logprobs }) => [...logprobs])),
    gradients: new Map(parameters.list.map(({ name, gradient }) => [name, readF32(backend, gradient)]))
  }
}

describe.each(TRAINED)('%s', (name) => {
  test('packed, cut and kept in every way, the same gradients', async () => {
    const model = await small(name)
    const parameters = own(new Parameters(model, { kind: 'adapter', adapter: own(await randomAdapter(model)) }))
    const members = [70, 9, 41].map((length) => randomSequence(length, length, SMALL.vocabulary))
    const packed = pack(members, 128)
    const expected = train(
      parameters,
      members.flatMap((member) => pack([member], 96)),
      {}
    )
    for (const settings of [
      { keep: 'all', chunkQueries: 64 },
      { keep: 'none', chunkQueries: 40 },
      { keep: 'all', chunkQueries: 7 },
      { keep: 'none', chunkQueries: 128 },
      { keep: 'all', chunkQueries: 64, chunkTokens: 48 },
      { keep: 'none', chunkQueries: 40, chunkTokens: 127 }
    ] as const) {
      const { logprobs, gradients } = train(parameters, packed, settings)
      expect(largestDifference(logprobs, expected.logprobs)).toBeLessThan(bound(name))
      for (const [tensor, gradient] of expected.gradients)
        expect(relativeDifference(gradients.get(tensor)!, gradient), tensor).toBeLessThan(bound(name))
    }
  })

  test('the plan is what the engine takes', async () => {
    const model = await small(name)
    const adapter = own(await randomAdapter(model))
    const parameters = own(new Parameters(model, { kind: 'adapter', adapter }))
    const { bytes, settings } = planMemory(model.backend, model, {
      trained: { kind: 'lora', r: adapter.r, targets: modulesOf(model.architecture) },
      tokens: 320,
      limitBytes: 1e12
    })
    const trainer = own(new Trainer(parameters, settings))
    trainer.score(pack([randomSequence(320, 1, SMALL.vocabulary)], 320)[0]!)
    expect(bytes.scratch).toBe(trainer.bytes.scratch)
    const planned = bytes.boundaries + bytes.activations
    const taken = trainer.bytes.activations // with masks, of which the plan knows the most there can be
    expect(taken).toBeGreaterThan(0.98 * planned)
    expect(taken).toBeLessThan(1.02 * (planned + bytes.masks))
    expect(Math.abs(bytes.gradients / parameters.bytes.gradients - 1)).toBeLessThan(0.02)
    expect(Math.abs(bytes.copies / parameters.bytes.copies - 1)).toBeLessThan(0.02)
  })

  test.each(['all', 'none'] as const)('in parts, keeping %s, it takes the scratch that is planned', async (keep) => {
    const model = await small(name)
    const adapter = own(await randomAdapter(model))
    const parameters = own(new Parameters(model, { kind: 'adapter', adapter }))
    const trained = { kind: 'lora', r: adapter.r, targets: modulesOf(model.architecture) } as const
    const [whole, parted] = [undefined, 96].map((chunkTokens) => {
      const settings = { keep, chunkTokens, chunkQueries: 8, headRows: 32 } // small beside a layer's own
      const planned = layerScratch(model.backend, { ...model, trained, tokens: 320, transposes: 'cached', ...settings })
      const trainer = own(new Trainer(parameters, settings))
      trainer.score(pack([randomSequence(320, 1, SMALL.vocabulary)], 320)[0]!)
      expect(trainer.bytes.scratch).toBe(planned)
      return planned
    })
    expect(parted!).toBeLessThan(whole!)
  })

  test('an adapter survives GGUF and PEFT bit by bit', async () => {
    const model = await small(name)
    const adapter = own(await randomAdapter(model))
    const peft = join(folder, name)
    mkdirSync(peft)
    adapter.save(join(folder, 'adapter.gguf'))
    writePeft(adapter, peft, 'base')
    for (const path of [join(folder, 'adapter.gguf'), peft]) {
      const again: Adapter = own(await loadAdapter(model, path))
      expect(again.pairs.map(({ target }) => target)).toEqual(adapter.pairs.map(({ target }) => target))
      expect(dumpAdapter(again)).toEqual(dumpAdapter(adapter))
    }
  })
})

test.each(['qwen3', 'Phi-4-mini, long context', 'gemma3, a window in every layer but one'] as const)(
  'rollouts of %s that share a prompt have the log-probabilities that training gives them',
  async (name) => {
    const model = await small(name)
    const adapter = own(await randomAdapter(model))
    const sampler = own(new Sampler(model, { width: 2, contextTokens: 300 }))
    const prompt = randomSequence(30, 5, SMALL.vocabulary).tokens
    const sampling = SamplingSettings.parse({})
    const seeds = ['one', 'other', 'third']
    const { groups } = await sampler.generate([{ prompt, seeds }], { sampling, maxTokens: 40, adapter })
    const rollouts = groups[0]!.map(({ tokens, logprobs }) => ({ tokens: [...tokens], logprobs: [...logprobs] }))
    expect(Math.max(...rollouts.map(({ tokens }) => tokens.length))).toBeGreaterThan(24) // longer than a window
    const parameters = own(new Parameters(model, { kind: 'adapter', adapter }))
    const trainer = own(new Trainer(parameters, { keep: 'none', chunkQueries: 40, headRows: 32, contextTokens: 300 }))
    const [batch] = pack(
      rollouts.map(({ tokens }) => {
        const mask = [...new Uint8Array(prompt.length), ...tokens.map(() => 1)]
        return { tokens: Int32Array.of(...prompt, ...tokens), mask: Uint8Array.from(mask) }
      }),
      256
    )
    const { logprobs } = trainer.score(batch!)
    // llama.cpp's cache is of F16
    expect(
      largestDifference(
        logprobs,
        rollouts.flatMap((it) => it.logprobs)
      )
    ).toBeLessThan(0.05)
  }
)

test('PEFT names the fused matrices of phi3 as Transformers does, with their rows as they are', async () => {
  const model = await small('Phi-4')
  const adapter = own(await randomAdapter(model))
  const tensors = peftTensors(adapter)
  const [q, k, f] = [SMALL.heads * SMALL.headDim, SMALL.keyHeads * SMALL.headDim, SMALL.feedForward]
  const shapes = Object.fromEntries(
    [...tensors].filter(([it]) => it.includes('.0.')).map(([it, { shape }]) => [it, shape])
  )
  const under = 'base_model.model.model.layers.0'
  expect(shapes).toEqual({
    [`${under}.self_attn.qkv_proj.lora_A.weight`]: [4, 64],
    [`${under}.self_attn.qkv_proj.lora_B.weight`]: [q + 2 * k, 4],
    [`${under}.self_attn.o_proj.lora_A.weight`]: [4, q],
    [`${under}.self_attn.o_proj.lora_B.weight`]: [64, 4],
    [`${under}.mlp.gate_up_proj.lora_A.weight`]: [4, 64],
    [`${under}.mlp.gate_up_proj.lora_B.weight`]: [2 * f, 4],
    [`${under}.mlp.down_proj.lora_A.weight`]: [4, f],
    [`${under}.mlp.down_proj.lora_B.weight`]: [64, 4]
  })
  const fused = adapter.pairs.find(({ target }) => target === 'blk.0.attn_qkv.weight')!
  expect(tensors.get(`${under}.self_attn.qkv_proj.lora_B.weight`)!.data).toEqual(readF32(model.backend, fused.b))
  expect(peftConfig(adapter, 'base')['target_modules']).toEqual(['down_proj', 'gate_up_proj', 'o_proj', 'qkv_proj'])
})

test.each(['qwen2', 'gemma3, a window in every layer but one'] as const)(
  'every weight of %s trained: embedding, biases and norms have their gradients',
  async (name) => {
    const model = await small(name, true)
    const parameters = own(new Parameters(model, { kind: 'full' }))
    const trainer = own(new Trainer(parameters, { keep: 'all', chunkQueries: 40, headRows: 32 }))
    const [batch] = pack([randomSequence(50, 3, SMALL.vocabulary)], 64)
    // along each gradient; layer-grad.test.ts is the exact test, this one is for what no layer knows
    const loss = (): number => trainer.score(batch!).logprobs.reduce((sum, it) => sum + it, 0)
    trainer.accumulate(batch!, ({ logprobs }) => ({
      logprob: new Float32Array(logprobs.length).fill(1),
      entropy: new Float32Array(logprobs.length)
    }))
    const gradients = new Map(parameters.list.map((it) => [it.name, readF32(model.backend, it.gradient)]))
    for (const { name: tensor, value } of parameters.list) {
      const gradient = gradients.get(tensor)!
      const random = seeded('direction', tensor)
      const raw = gradient.map((g) => g * (0.5 + random.next()))
      const length = Math.hypot(...raw)
      const expected = gradient.reduce((sum, g, i) => sum + (g * raw[i]!) / length, 0)
      const start = readF32(model.backend, value)
      const at = (step: number): number => {
        const { ggml } = model.backend.native
        const moved = start.map((x, i) => x + (step * raw[i]!) / length)
        ggml.backend_tensor_set(value.ptr, moved, 0, moved.byteLength)
        return loss()
      }
      const h = 0.05
      const measured = (8 * (at(h) - at(-h)) - (at(2 * h) - at(-2 * h))) / (12 * h)
      at(0)
      expect(Math.abs(measured - expected) / Math.abs(expected), tensor).toBeLessThan(0.02)
    }
  }
)
