/** What only a device with memory of its own can get wrong: where things lie, what crosses over, what is refused. */
import { join } from 'node:path'
import { beforeAll, describe, expect, test } from 'vitest'
import { LoraSettings } from '../../src/shared/recipe.ts'
import { seeded } from '../../src/shared/random.ts'
import { createAdapter, dumpAdapter, loadAdapter } from '../../src/main/engine/adapter.ts'
import type { Adapter } from '../../src/main/engine/adapter.ts'
import { openBackend } from '../../src/main/engine/backend.ts'
import type { Backend } from '../../src/main/engine/backend.ts'
import { pack } from '../../src/main/engine/batch.ts'
import { bufferOf } from '../../src/main/engine/ffi/libraries.ts'
import { loadModel } from '../../src/main/engine/model.ts'
import type { Model } from '../../src/main/engine/model.ts'
import { AdamW } from '../../src/main/engine/optimizer.ts'
import { Parameters } from '../../src/main/engine/parameters.ts'
import { Sampler } from '../../src/main/engine/sampler.ts'
import { selfTest } from '../../src/main/engine/self-test/self-test.ts'
import { elements, readF32, TensorPool, TYPE, write } from '../../src/main/engine/tensor.ts'
import type { Tensor } from '../../src/main/engine/tensor.ts'
import { Trainer } from '../../src/main/engine/trainer.ts'
import { largestDifference, meanDifference, relativeDifference } from '../engine/compare.ts'
import { decodeLogits, logSoftmax } from '../engine/decode.ts'
import { temporaryFolder } from '../engine/folder.ts'
import { golden, goldenPath, goldenSequence } from '../engine/golden.ts'
import { owner } from '../engine/owner.ts'
import { writeQuantised } from '../engine/quantised.ts'
import type { FileType } from '../engine/quantised.ts'
import { TINY, writeTinyModel } from '../engine/tiny-model.ts'
import { Rig } from '../engine/rig.ts'

const own = owner()
const folder = temporaryFolder()
const paths = new Map<FileType | 'tied', string>()
const TYPES = ['F32', 'Q8_0'] as const satisfies readonly FileType[]

beforeAll(() => {
  const backend = openBackend({ threads: 1 })
  for (const type of TYPES) paths.set(type, writeQuantised(backend, folder, type))
  paths.set('tied', join(folder, 'tied.gguf'))
  writeTinyModel(backend, paths.get('tied')!, { ...TINY, width: 64, feedForward: 96, tied: true })
  backend.dispose()
})

const cpu = (): Backend => own(openBackend({ threads: 1 }))

const TOKENS = Int32Array.from({ length: 40 }, (_, i) => 3 + ((i * 37) % (TINY.vocabulary - 4)))
const [batch] = pack(
  [TOKENS.subarray(0, 27), TOKENS.subarray(27)].map((tokens) => ({
    tokens,
    mask: new Uint8Array(tokens.length).fill(1)
  })),
  48
)

type Step = { adapter: Adapter; logprobs: Float32Array; entropy: Float32Array; gradients: Float32Array[] }

/** An adapter that is not zero, one packed row forward and backward, one update. */
async function step(model: Model, coefficient = 1): Promise<Step> {
  const { backend } = model
  const adapter = own(await createAdapter(model, LoraSettings.parse({ r: 4 }), 1))
  const random = seeded('b')
  for (const { b } of adapter.pairs)
    write(
      backend,
      b,
      Float32Array.from({ length: elements(b) }, () => 0.1 * random.normal())
    )
  adapter.publish()
  const parameters = own(new Parameters(model, { kind: 'adapter', adapter }))
  const trainer = own(new Trainer(parameters, { keep: 'none', chunkQueries: 16, headRows: 16 }))
  const settings = { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weightDecay: 0, maxGradNorm: 1 }
  const optimizer = own(new AdamW(parameters, settings))
  const { logprobs, entropy } = trainer.accumulate(batch!, (output) => ({
    logprob: new Float32Array(output.logprobs.length).fill(coefficient),
    entropy: new Float32Array(output.logprobs.length).fill(coefficient / 10)
  }))
  const gradients = parameters.list.map(({ gradient }) => readF32(backend, gradient))
  expect(optimizer.step({ a: 1e-3, b: 1e-3, weight: 0 }).applied).toBe(true)
  return { adapter, logprobs, entropy, gradients }
}

test('the self-test passes, at F32 rounding', async () => {
  const result = await selfTest(own.backend())
  expect(result.passes).toBe(true)
  expect(result.logprobs).toBeLessThan(1e-5)
  expect(result.gradients).toBeLessThan(1e-5)
})

/** |ours − theirs| over |theirs|, as lengths. */
function apart(ours: Float32Array, theirs: Float32Array): number {
  return Math.hypot(...ours.map((x, i) => x - theirs[i]!)) / Math.hypot(...theirs)
}

test.each([
  // F32 keeps gradients of any size
  ['F32', 1e-6, 1e-5, 1e-4],
  // the CPU turns what is multiplied by Q8_0 into Q8_0 too, and its transposes are Q8_0 where a GPU's are F16: agree.test.ts
  // measures up to 1.3e-1 of that in a log-probability
  ['Q8_0', 1, 3e-1, 1e-1]
] as const)('one step on a base of %s is the CPU’s', async (type, coefficient, logprob, gradient) => {
  const [here, there] = [own.backend(), cpu()]
  const ours = await step(own(await loadModel(paths.get(type)!, here)), coefficient)
  const theirs = await step(own(await loadModel(paths.get(type)!, there)), coefficient)
  expect(largestDifference(ours.logprobs, theirs.logprobs)).toBeLessThan(logprob)
  expect(largestDifference(ours.entropy, theirs.entropy)).toBeLessThan(logprob)
  ours.gradients.forEach((it, i) => expect(apart(it, theirs.gradients[i]!)).toBeLessThan(gradient))
  // a first step of Adam is the sign of the gradient times the rate of 1e-3, except where the gradient is near ε
  expect(largestDifference(dumpAdapter(ours.adapter), dumpAdapter(theirs.adapter))).toBeLessThan(
    type === 'F32' ? 1e-5 : 2.01e-3
  )
})

test('one example is memorised by an adapter that starts at zero', async () => {
  const model = own(await loadModel(goldenPath(golden.parts.sft.base), own.backend()))
  const adapter = own(await createAdapter(model, LoraSettings.parse({ r: 8, lora_alpha: 32 }), 1))
  const parameters = own(new Parameters(model, { kind: 'adapter', adapter }))
  const trainer = own(new Trainer(parameters, { keep: 'all', chunkQueries: 64, headRows: 32 }))
  const settings = { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weightDecay: 0, maxGradNorm: 1 }
  const optimizer = own(new AdamW(parameters, settings))
  const [example] = pack([goldenSequence('sft', 0)], 32)
  const n = example!.at.length
  const crossEntropy = (logprobs: Float32Array): number => -logprobs.reduce((sum, it) => sum + it, 0) / n
  const rates = { a: 2e-2, b: 2e-2, weight: 0 }
  expect(crossEntropy(trainer.score(example!).logprobs)).toBeGreaterThan(4)
  for (let step = 0; step < 60; step++) {
    trainer.accumulate(example!, ({ logprobs }) => ({
      logprob: new Float32Array(logprobs.length).fill(-1 / n),
      entropy: new Float32Array(logprobs.length)
    }))
    optimizer.step(rates)
  }
  expect(crossEntropy(trainer.score(example!).logprobs)).toBeLessThan(0.05)
})

/**
 * llama.cpp's attention on a GPU rounds keys and values to F16 whatever its cache holds, as on the CPU with its usual cache of
 * F16; these are agree.test.ts's bounds for an F32 base with that cache.
 */
const DECODE = { mean: 2e-3, most: 2e-2 } as const

test('llama_decode on the device samples with the adapter that is trained there', async () => {
  const model = own(await loadModel(paths.get('F32')!, own.backend()))
  const { adapter } = await step(model)
  const reference = own(await loadModel(paths.get('F32')!, cpu()))
  adapter.save(join(folder, 'trained.gguf'))
  const copy = own(await loadAdapter(reference, join(folder, 'trained.gguf')))
  expect(dumpAdapter(copy)).toEqual(dumpAdapter(adapter))
  const { vocabulary } = TINY
  const ours = logSoftmax(decodeLogits(model, TOKENS, adapter), vocabulary)
  const theirs = logSoftmax(decodeLogits(reference, TOKENS, copy), vocabulary)
  const without = logSoftmax(decodeLogits(model, TOKENS, null), vocabulary)
  expect(meanDifference(ours, theirs)).toBeLessThan(DECODE.mean)
  expect(largestDifference(ours, theirs)).toBeLessThan(DECODE.most)
  expect(largestDifference(ours, without)).toBeGreaterThan(10 * DECODE.most)
})

test('rollouts: what was sampled has the log-probabilities that training computes', async () => {
  const model = own(await loadModel(paths.get('F32')!, own.backend()))
  const { adapter } = await step(model)
  const sampler = own(new Sampler(model, { width: 2, contextTokens: 32, cacheType: 'f32' }))
  const prompt = TOKENS.slice(0, 8)
  const { groups } = await sampler.generate([{ prompt, seeds: ['1', '2'] }], {
    sampling: { temperature: 1, top_k: 0, top_p: 1, min_p: 0 },
    maxTokens: 6,
    adapter
  })
  const rollouts = groups[0]!
  const parameters = own(new Parameters(model, { kind: 'adapter', adapter }))
  const trainer = own(new Trainer(parameters, { keep: 'none', chunkQueries: 16, headRows: 16 }))
  const rows = rollouts.map(({ tokens }) => ({
    tokens: Int32Array.from([...prompt, ...tokens]),
    mask: Uint8Array.from([...prompt, ...tokens], (_, i) => Number(i >= prompt.length))
  }))
  const [packed] = pack(rows, 48)
  const { logprobs } = trainer.score(packed!)
  const sampled = Float32Array.from(rollouts.flatMap((it) => [...it.logprobs]))
  expect(meanDifference(logprobs, sampled)).toBeLessThan(DECODE.mean)
  expect(largestDifference(logprobs, sampled)).toBeLessThan(DECODE.most)
})

describe('where things lie', () => {
  const typeOf = (backend: Backend, { ptr }: Tensor): unknown =>
    backend.native.ggml.backend_buffer_get_type(bufferOf(ptr))

  test.each(['F32', 'tied'] as const)('every weight of a base (%s) and its adapter are on the device', async (base) => {
    const backend = own.backend()
    const model = own(await loadModel(paths.get(base)!, backend))
    const adapter = own(await createAdapter(model, LoraSettings.parse({ r: 4 }), 1))
    for (const name of model.info.tensors.keys())
      expect(typeOf(backend, model.weight(name)), name).toBe(backend.bufferType)
    for (const { a, b } of adapter.pairs)
      expect([typeOf(backend, a), typeOf(backend, b)]).toEqual([backend.bufferType, backend.bufferType])
  })

  test('what is written is read back, whole and in part', () => {
    const backend = own.backend()
    const pool = own(new TensorPool(backend, 2))
    const tensor = pool.add(TYPE.F32, 5, 3)
    pool.allocate()
    expect(readF32(backend, tensor)).toEqual(new Float32Array(15))
    const values = Float32Array.from({ length: 15 }, (_, i) => i / 7)
    write(backend, tensor, values)
    expect(readF32(backend, tensor)).toEqual(values)
    expect(readF32(backend, tensor, 4)).toEqual(values.subarray(0, 4))
  })
})

/** The views that attention multiplies: gaps between rows, between matrices, and an offset. */
test.each([
  ['a window of keys', [16, 64, 2], [16, 32, 2, 1], [0, 16, 0, 0]],
  ['a window of rows', [64, 16, 2], [32, 16, 2, 1], [16, 0, 0, 0]]
] as const)('a product with %s', (_, whole, size, start) => {
  const rig = new Rig(own)
  const [a, b] = [rig.random('a', 1, ...whole), rig.random('b', 1, size[0], 24, 4)]
  rig.ready()
  const got = rig.graph((g) => g.mulMat(g.window(a, size, start), b)).read()
  const [x, y] = [readF32(rig.backend, a), readF32(rig.backend, b)]
  const expected: number[] = []
  for (let head = 0; head < 4; head++)
    for (let n = 0; n < 24; n++)
      for (let m = 0; m < size[1]; m++) {
        let sum = 0
        for (let k = 0; k < size[0]; k++) {
          const at = ((head >> 1) * whole[1] + start[1] + m) * whole[0] + start[0] + k
          sum += x[at]! * y[(head * 24 + n) * size[0] + k]!
        }
        expected.push(sum)
      }
  expect(relativeDifference(got, expected)).toBeLessThan(1e-5)
})
