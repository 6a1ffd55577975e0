/** Wᵀ made layer by layer gives the gradients of Wᵀ kept, to the last bit, in less memory. */
import { expect, test } from 'vitest'
import { LoraSettings } from '../../src/shared/recipe.ts'
import { seeded } from '../../src/shared/random.ts'
import { createAdapter } from '../../src/main/engine/adapter.ts'
import { openBackend } from '../../src/main/engine/backend.ts'
import { pack } from '../../src/main/engine/batch.ts'
import type { Keep } from '../../src/main/engine/activations.ts'
import { loadModel } from '../../src/main/engine/model.ts'
import { Parameters } from '../../src/main/engine/parameters.ts'
import { elements, readF32, write } from '../../src/main/engine/tensor.ts'
import { Trainer } from '../../src/main/engine/trainer.ts'
import type { Transposes } from '../../src/main/engine/weight-copies.ts'
import { temporaryFolder } from './folder.ts'
import { owner } from './owner.ts'
import { writeQuantised } from './quantised.ts'
import type { FamilyName } from './tiny-families.ts'
import type { FileType } from './quantised.ts'
import { TINY } from './tiny-model.ts'

const own = owner()
const folder = temporaryFolder()

const rows = [40, 23].map((length) => {
  const tokens = Int32Array.from({ length }, (_, i) => 3 + ((i * 37 + length) % (TINY.vocabulary - 4)))
  return pack([{ tokens, mask: new Uint8Array(length).fill(1) }], 48)[0]!
})

test.each([
  ['F32', 'llama', 'all', 'adapter'],
  ['F16', 'llama', 'all', 'adapter'],
  ['Q8_0', 'llama', 'none', 'adapter'],
  ['Q4_K', 'llama', 'none', 'adapter'],
  ['Q4_K', 'Phi-4', 'all', 'adapter'],
  ['F32', 'llama', 'none', 'full']
] as const satisfies [FileType, FamilyName, Keep, string][])(
  '%s of %s, keep %s, training %s',
  async (type, family, keep, kind) => {
    const maker = openBackend({ threads: 1 })
    const path = writeQuantised(maker, folder, type, family)
    maker.dispose()
    const backend = own.backend()
    const model = own(await loadModel(path, backend, { writable: kind === 'full' }))
    const adapter = kind === 'full' ? null : own(await createAdapter(model, LoraSettings.parse({ r: 4 }), 1))
    const random = seeded('b')
    for (const { b } of adapter?.pairs ?? [])
      write(
        backend,
        b,
        Float32Array.from({ length: elements(b) }, () => 0.1 * random.normal())
      )
    adapter?.publish()

    const run = (transposes: Transposes): { gradients: Map<string, Float32Array>; copies: number } => {
      const trained = adapter ? ({ kind: 'adapter', adapter } as const) : ({ kind: 'full' } as const)
      const parameters = own(new Parameters(model, trained, { transposes }))
      const trainer = own(new Trainer(parameters, { keep, chunkQueries: 16, headRows: 16 }))
      for (const row of rows)
        trainer.accumulate(row, ({ logprobs }) => ({
          logprob: Float32Array.from(logprobs, (_, i) => -1 - (i % 3)),
          entropy: new Float32Array(logprobs.length).fill(0.1)
        }))
      return {
        gradients: new Map(parameters.list.map(({ name, gradient }) => [name, readF32(backend, gradient)])),
        copies: parameters.bytes.copies
      }
    }
    const [cached, made] = [run('cached'), run('per layer')]
    for (const [name, gradient] of cached.gradients) {
      expect(
        gradient.some((value) => value !== 0),
        name
      ).toBe(true)
      expect(made.gradients.get(name), name).toEqual(gradient)
    }
    expect(made.copies).toBeLessThan(cached.copies)
  }
)
