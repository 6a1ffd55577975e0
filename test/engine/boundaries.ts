/** A pass with boundaries on the device against the same with boundaries in host memory. */
import { expect } from 'vitest'
import { LoraSettings } from '../../src/shared/recipe.ts'
import { seeded } from '../../src/shared/random.ts'
import type { Boundaries, Keep } from '../../src/main/engine/activations.ts'
import { createAdapter } from '../../src/main/engine/adapter.ts'
import { pack } from '../../src/main/engine/batch.ts'
import type { Model } from '../../src/main/engine/model.ts'
import { Parameters } from '../../src/main/engine/parameters.ts'
import { elements, readF32, write } from '../../src/main/engine/tensor.ts'
import { Trainer } from '../../src/main/engine/trainer.ts'
import type { Owner } from './owner.ts'

/** Log-probabilities and gradients are the same bits, and what leaves the device is what the host takes, less two. `lengths`: of the sequences of each row. */
export async function expectSameOnHost(
  own: Owner,
  model: Model,
  { keep, wholeBatch, lengths }: { keep: Keep; wholeBatch: boolean; lengths: readonly (readonly number[])[] }
): Promise<void> {
  const { backend, config } = model
  const adapter = own(await createAdapter(model, LoraSettings.parse({ r: 4 }), 1))
  const random = seeded('b')
  for (const { b } of adapter.pairs)
    write(
      backend,
      b,
      Float32Array.from({ length: elements(b) }, () => 0.1 * random.normal())
    )
  adapter.publish()
  const rows = lengths.map((some) => {
    const members = some.map((length) => ({
      tokens: Int32Array.from({ length }, (_, i) => 3 + ((i * 37 + length) % (config.vocabulary - 4))),
      mask: new Uint8Array(length).fill(1)
    }))
    return pack(members, 48)[0]!
  })
  const run = (boundaries: Boundaries) => {
    const parameters = own(new Parameters(model, { kind: 'adapter', adapter }))
    const trainer = own(new Trainer(parameters, { keep, boundaries, chunkQueries: 16, headRows: 16 }))
    const outputs = rows.map((row) => {
      trainer.score(row) // leaves nothing that a backward could take for its own
      return trainer.accumulate(
        row,
        ({ logprobs }) => ({
          logprob: Float32Array.from(logprobs, (_, i) => -1 - (i % 3)),
          entropy: new Float32Array(logprobs.length).fill(0.1)
        }),
        { wholeBatch }
      )
    })
    const gradients = new Map(parameters.list.map(({ name, gradient }) => [name, readF32(backend, gradient)]))
    return { outputs, gradients, bytes: trainer.bytes }
  }
  const [device, host] = [run('device'), run('host')]
  expect(host.outputs).toEqual(device.outputs)
  for (const [name, gradient] of device.gradients) {
    expect(
      gradient.some((value) => value !== 0),
      name
    ).toBe(true)
    expect(host.gradients.get(name), name).toEqual(gradient)
  }
  const one = config.width * rows.at(-1)!.tokens.length * 4
  expect(device.bytes.host).toBe(0)
  expect(host.bytes.host - (config.layers - 1) * one).toBeLessThan(64) // a driver pads
  expect(device.bytes.activations - host.bytes.activations).toBe((config.layers - 1) * one)
}
