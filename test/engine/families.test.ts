/**
 * Every architecture's training forward against `llama_decode`, over whole distributions of small random models in F32 with a
 * cache in F32, so that nothing but the order of F32 sums is between the two. Types: agree.test.ts.
 *
 * gemma3's GELU is a table of F16 on the CPU: a sum one unit apart may fall on another step of it, 5e-4 of its value away, and
 * the rest of the sequence carries that. It is held to that noise; with a feed-forward of zero, to that of F32.
 */
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { seeded } from '../../src/shared/random.ts'
import { loadModel } from '../../src/main/engine/model.ts'
import { comparer, randomAdapter, randomSequence } from './decode-comparer.ts'
import { temporaryFolder } from './folder.ts'
import { owner } from './owner.ts'
import { FAMILIES } from './tiny-families.ts'
import type { FamilyName, TinyFamily } from './tiny-families.ts'
import { shapeOf, writeFamily } from './tiny-model.ts'

const own = owner()
const folder = temporaryFolder()

/** Largest measured: 7e-5, of log-probabilities down to −38. */
const SAME = 1e-4
const TABLE_NOISE = 5e-3

describe.each(Object.keys(FAMILIES) as FamilyName[])('%s', (name) => {
  const family: TinyFamily = FAMILIES[name]
  const { vocabulary } = shapeOf(family)

  const adapted = !family.zero // an adapter would fill what is zero
  test.each<readonly [name: string, withAdapter: boolean, chunkQueries: number]>([
    ['the base', false, 64],
    [`${adapted ? 'with an adapter, ' : ''}in chunks that a window does not divide`, adapted, 40],
    ...(name.startsWith('gemma3') ? [['in chunks shorter than a window', adapted, 7] as const] : [])
  ])('%s', async (_, withAdapter, chunkQueries) => {
    const backend = own.backend()
    const path = join(folder, 'model.gguf')
    writeFamily(backend, path, family)
    const model = own(await loadModel(path, backend))
    const adapter = own(await randomAdapter(model))
    const contextTokens = family.contextTokens ?? 256
    const { compare } = own(comparer(model, adapter, withAdapter, { chunkQueries, contextTokens }))
    const sequences = [100, 5, 61].map((length) =>
      randomSequence(length, seeded(name, length).integer(0, 1e6), vocabulary)
    )
    for (const { most } of compare(sequences, {})) {
      expect(most).toBeLessThan(family.architecture === 'gemma3' && !family.zero ? TABLE_NOISE : SAME)
    }
  })
})
