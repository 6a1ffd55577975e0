/**
 * The training forward against `llama_decode`, over whole distributions, for every type a base may have.
 *
 * Both paths quantise activations alike (ggml turns the right-hand side of a product with F16, BF16 or quantised weights into
 * that type's partner: F16, BF16, Q8_0, Q8_1 or Q8_K) and use the same kernels, so they differ by the order of F32 sums in
 * the attention alone: 1e-6. But a sum one unit apart can fall on the other side of a rounding boundary of that conversion;
 * one such flip causes others, and the rest of the sequence carries the type's own rounding noise. So two things are asked:
 * most short sequences agree as F32 does, and a long one stays within the noise of its type. F16's grid is so fine that with
 * an adapter some value is always beside a boundary; its short sequences are held to the noise.
 *
 * llama.cpp's cache of keys and values is F16 unless asked otherwise, which alone brings every type to its noise.
 *
 * Measured, nats, 48 tokens of a random model, largest of base and adapter:
 *                  F32 cache             F16 cache            F16 cache, fused attention
 *                  mean     largest      mean     largest     mean     largest
 *   F32            6e-7     5e-6         1e-3     8e-3        1.5e-3   1.3e-2
 *   F16            4e-4     3e-3         1e-3     6e-3        1.5e-3   9e-3
 *   BF16           1.3e-3   1.2e-2       5e-3     4e-2        6e-3     4e-2
 *   Q8_0 … Q5_1    7e-3     7e-2         2e-2     1.3e-1      2e-2     1.3e-1
 *   Q2_K … Q6_K    3e-3     6e-2         3e-2     1.6e-1      3e-2     2.4e-1
 */
import { beforeAll, describe, expect, test } from 'vitest'
import { LoraSettings } from '../../src/shared/recipe.ts'
import { seeded } from '../../src/shared/random.ts'
import { createAdapter } from '../../src/main/engine/adapter.ts'
import type { Adapter } from '../../src/main/engine/adapter.ts'
import { openBackend } from '../../src/main/engine/backend.ts'
import { pack } from '../../src/main/engine/batch.ts'
import type { TrainSequence } from '../../src/main/engine/batch.ts'
import { loadModel } from '../../src/main/engine/model.ts'
import type { Model } from '../../src/main/engine/model.ts'
import { Parameters } from '../../src/main/engine/parameters.ts'
import { elements, TYPE, write } from '../../src/main/engine/tensor.ts'
import { Trainer } from '../../src/main/engine/trainer.ts'
import { largestDifference, meanDifference } from './compare.ts'
import { decodeLogits, logSoftmax } from './decode.ts'
import type { DecodeOptions } from './decode.ts'
import { temporaryFolder } from './folder.ts'
import { owner } from './owner.ts'
import { FILE_TYPE, writeQuantised } from './quantised.ts'
import type { FileType } from './quantised.ts'
import { TINY } from './tiny-model.ts'
import { wholeDistribution } from './whole-distribution.ts'

const own = owner()
const folder = temporaryFolder()
const paths = new Map<FileType, string>()
const TYPES = Object.keys(FILE_TYPE) as FileType[]

/** What F32 sums in another order make of log-probabilities down to −11. */
const SAME = 1e-5

type Bounds = { readonly short: number; readonly mean: number; readonly most: number }
const legacy: Bounds = { short: SAME, mean: 4e-2, most: 3e-1 }
const kQuant: Bounds = { short: SAME, mean: 6e-2, most: 4e-1 }

/** `short`: what half of the short sequences stay below. `mean` and `most`: twice the noise measured with an F16 cache. */
const BOUNDS: Record<FileType, Bounds> = {
  F32: { short: SAME, mean: 2e-3, most: 2e-2 },
  F16: { short: 2e-3, mean: 2e-3, most: 2e-2 },
  BF16: { short: SAME, mean: 1e-2, most: 8e-2 },
  Q8_0: legacy,
  Q4_0: legacy,
  Q4_1: legacy,
  Q5_0: legacy,
  Q5_1: legacy,
  Q2_K: kQuant,
  Q3_K: kQuant,
  Q4_K: kQuant,
  Q5_K: kQuant,
  Q6_K: kQuant
}

beforeAll(() => {
  const backend = openBackend({ threads: 1 })
  for (const type of TYPES) paths.set(type, writeQuantised(backend, folder, type))
  backend.dispose()
})

function sequence(length: number, seed: number): TrainSequence {
  const random = seeded('sequence', seed)
  const tokens = Int32Array.from({ length }, () => random.integer(3, TINY.vocabulary - 1))
  return { tokens, mask: new Uint8Array(length).fill(1) }
}

type Compare = (sequences: readonly TrainSequence[], decode: DecodeOptions) => { mean: number; most: number }[]

/** |Δ log p| of every token after every position of each sequence, packed into one row for training, decoded one by one. */
function comparer(model: Model, adapter: Adapter, withAdapter: boolean): Compare {
  const parameters = own(new Parameters(model, { kind: 'adapter', adapter }))
  const trainer = own(new Trainer(parameters, { keep: 'none', chunkQueries: 64, headRows: 512 }))
  const { vocabulary } = TINY
  return (sequences, decode) => {
    const used = sequences.reduce((sum, { tokens }) => sum + tokens.length, 0)
    const [batch] = pack(sequences, used)
    const { logprobs } = trainer.score(wholeDistribution(batch!, vocabulary), { reference: !withAdapter })
    let from = 0
    return sequences.map(({ tokens }) => {
      const ours = logprobs.subarray(from, (from += tokens.length * vocabulary))
      const decoded = logSoftmax(decodeLogits(model, tokens, withAdapter ? adapter : null, decode), vocabulary)
      return { mean: meanDifference(ours, decoded), most: largestDifference(ours, decoded) }
    })
  }
}

/** A base of that type with an adapter whose B is not zero. */
async function setup(type: FileType): Promise<{ model: Model; adapter: Adapter }> {
  const model = own(await loadModel(paths.get(type)!, own.backend()))
  expect(model.weight('blk.0.ffn_down.weight').type).toBe(TYPE[type])
  expect(model.weight('token_embd.weight').type).toBe(TYPE[type])
  const adapter = own(await createAdapter(model, LoraSettings.parse({ r: 4 }), 1))
  const random = seeded('b')
  for (const { b } of adapter.pairs) {
    write(
      model.backend,
      b,
      Float32Array.from({ length: elements(b) }, () => 0.1 * random.normal())
    )
  }
  adapter.publish()
  return { model, adapter }
}

describe.each(TYPES)('%s', (type) => {
  test.each([
    ['the base', false],
    ['with an adapter', true]
  ])('%s', async (_, withAdapter) => {
    const { model, adapter } = await setup(type)
    const compare = comparer(model, adapter, withAdapter)
    const { short, mean, most } = BOUNDS[type]
    const apart = compare(
      Array.from({ length: 16 }, (_, i) => sequence(3, i)),
      {}
    ).map((it) => it.most)
    expect(apart.filter((it) => it < short).length, `of 16 sequences: ${apart.join(', ')}`).toBeGreaterThanOrEqual(8)

    const [exactCache] = compare([sequence(48, 100)], {})
    expect(exactCache!.mean).toBeLessThan(type === 'F32' ? SAME : mean)
    expect(exactCache!.most).toBeLessThan(type === 'F32' ? SAME : most)
    const [defaultCache] = compare([sequence(48, 100)], { cache: TYPE.F16 })
    expect(defaultCache!.mean).toBeLessThan(mean)
    expect(defaultCache!.most).toBeLessThan(most)
  })
})
