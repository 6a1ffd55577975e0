/** Passes with Wᵀ kept beside the weights against the same with Wᵀ made layer by layer. */
import { expect } from 'vitest'
import { LoraSettings } from '../../src/shared/recipe.ts'
import { seeded } from '../../src/shared/random.ts'
import type { Keep } from '../../src/main/engine/activations.ts'
import { createAdapter } from '../../src/main/engine/adapter.ts'
import { pack } from '../../src/main/engine/batch.ts'
import type { Model } from '../../src/main/engine/model.ts'
import { Parameters } from '../../src/main/engine/parameters.ts'
import { elements, readF32, write } from '../../src/main/engine/tensor.ts'
import { Trainer } from '../../src/main/engine/trainer.ts'
import type { Transposes } from '../../src/main/engine/weight-copies.ts'
import type { Owner } from './owner.ts'

/** Gradients are the same bits, in less memory. `lengths`: of the one sequence of each row. */
export async function expectSameByLayer(
  own: Owner,
  model: Model,
  { keep, training, lengths }: { keep: Keep; training: 'adapter' | 'full'; lengths: readonly number[] }
): Promise<void> {
  const { backend, config } = model
  const adapter = training === 'full' ? null : own(await createAdapter(model, LoraSettings.parse({ r: 4 }), 1))
  const random = seeded('b')
  for (const { b } of adapter?.pairs ?? [])
    write(
      backend,
      b,
      Float32Array.from({ length: elements(b) }, () => 0.1 * random.normal())
    )
  adapter?.publish()
  const rows = lengths.map((length) => {
    const tokens = Int32Array.from({ length }, (_, i) => 3 + ((i * 37 + length) % (config.vocabulary - 4)))
    return pack([{ tokens, mask: new Uint8Array(length).fill(1) }], 48)[0]!
  })
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
