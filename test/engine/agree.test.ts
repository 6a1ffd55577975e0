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
 *
 * I-quants are as K-quants. Every type with every architecture: docs/benchmarks/agreement.md.
 */
import { describe, expect, test } from 'vitest'
import { loadModel } from '../../src/main/engine/model.ts'
import { TYPE, WEIGHT_TYPES } from '../../src/main/engine/tensor.ts'
import type { TypeName } from '../../src/main/engine/tensor.ts'
import { comparer, randomAdapter, randomSequence } from './decode-comparer.ts'
import { temporaryFolder } from './folder.ts'
import { owner } from './owner.ts'
import { writeQuantised } from './quantised.ts'
import type { FamilyName } from './tiny-families.ts'
import { TINY } from './tiny-model.ts'

const own = owner()
const folder = temporaryFolder()

const GEMMA3 = 'gemma3, a window in every layer but one'

/** What F32 sums in another order make of log-probabilities down to −11. */
const SAME = 1e-5

type Bounds = { readonly short: number; readonly mean: number; readonly most: number }
const legacy: Bounds = { short: SAME, mean: 4e-2, most: 3e-1 }
const kQuant: Bounds = { short: SAME, mean: 6e-2, most: 4e-1 }

/** `short`: what half of the short sequences stay below. `mean` and `most`: twice the noise measured with an F16 cache. */
const BOUNDS: Partial<Record<TypeName, Bounds>> = {
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
/**
 * How much larger the noise is than in llama: the small qwen2 and qwen3 have log-probabilities down to −38 instead of −11
 * (their head is tied to a large embedding), gemma3's GELU comes from a table of F16 (families.test.ts).
 */
const LARGER: Partial<Record<FamilyName, number>> = { qwen2: 5, qwen3: 5, [GEMMA3]: 2 }

/** A step of GELU's table is one of BF16's too: six of gemma3's sixteen short sequences have none and agree to 2e-6. */
const GEMMA3_IN_BF16 = 2e-2

function boundsOf(family: FamilyName, type: TypeName): Bounds {
  const { short, mean, most } = BOUNDS[type] ?? kQuant
  const by = LARGER[family] ?? 1
  const exact = family === GEMMA3 && type === 'BF16' ? GEMMA3_IN_BF16 : short * by
  return { short: exact, mean: mean * by, most: most * by }
}

/** Types that the CPU multiplies faster in another layout (packing.ts), loaded so by both. */
const PACKED = ['Q4_0', 'Q4_K', 'IQ4_NL'] as const satisfies readonly TypeName[]

const CASES: (readonly [family: FamilyName, type: TypeName, withAdapter: boolean, layout: 'plain' | 'packed'])[] = [
  ...WEIGHT_TYPES.flatMap((type) => [
    ['llama', type, false, 'plain'] as const,
    ['llama', type, true, 'plain'] as const
  ]),
  ...PACKED.map((type) => ['llama', type, true, 'packed'] as const),
  ['Phi-4', 'Q4_K', true, 'packed'],
  ...(['qwen2', 'qwen3', 'Phi-4', GEMMA3] as const).flatMap((family) =>
    (['F16', 'BF16', 'Q8_0', 'Q4_K', 'IQ4_XS'] as const).map((type) => [family, type, true, 'plain'] as const)
  )
]

describe.each(CASES)('%s in %s, with an adapter: %s, %s', (family, type, withAdapter, layout) => {
  // before the first matrix in IQ1_S ggml makes tables for 13 s, before one in IQ2_S for 6 s
  test('agrees', { timeout: 300_000 }, async () => {
    const backend = own.backend()
    const model = own(
      await loadModel(writeQuantised(backend, folder, type, family), backend, { packed: layout === 'packed' })
    )
    expect(model.weight('blk.0.ffn_down.weight').type).toBe(TYPE[type])
    expect(model.weight('token_embd.weight').type).toBe(TYPE[type])
    const it = own(comparer(model, own(await randomAdapter(model)), withAdapter))
    const sequence = (length: number, seed: number): ReturnType<typeof randomSequence> =>
      randomSequence(length, seed, TINY.vocabulary)
    const { short, mean, most } = boundsOf(family, type)
    const apart = it
      .compare(
        Array.from({ length: 16 }, (_, i) => sequence(3, i)),
        {}
      )
      .map(({ most }) => most)
    expect(apart.filter((it) => it < short).length, `of 16 sequences: ${apart.join(', ')}`).toBeGreaterThanOrEqual(8)

    const [exactCache] = it.compare([sequence(48, 100)], {})
    expect(exactCache!.mean).toBeLessThan(type === 'F32' ? SAME : mean)
    expect(exactCache!.most).toBeLessThan(type === 'F32' ? SAME : most)
    const [defaultCache] = it.compare([sequence(48, 100)], { cache: TYPE.F16 })
    expect(defaultCache!.mean).toBeLessThan(mean)
    expect(defaultCache!.most).toBeLessThan(most)
  })
})
