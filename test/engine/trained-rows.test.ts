/** Rows of single tokens, trained beside an adapter: PEFT's trainable token indices. */
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { LoraSettings } from '../../src/shared/recipe.ts'
import { seeded } from '../../src/shared/random.ts'
import { createAdapter } from '../../src/main/engine/adapter.ts'
import { openBackend } from '../../src/main/engine/backend.ts'
import { pack } from '../../src/main/engine/batch.ts'
import { deriveGguf } from '../../src/main/engine/derived-gguf.ts'
import { readGguf } from '../../src/main/engine/gguf.ts'
import { loadModel } from '../../src/main/engine/model.ts'
import type { Model } from '../../src/main/engine/model.ts'
import { AdamW } from '../../src/main/engine/optimizer.ts'
import { Parameters } from '../../src/main/engine/parameters.ts'
import { perplexityOf } from '../../src/main/engine/perplexity.ts'
import { readBytes, readF32, write } from '../../src/main/engine/tensor.ts'
import { readRowBytes, tokenTables } from '../../src/main/engine/token-rows.ts'
import { Trainer } from '../../src/main/engine/trainer.ts'
import { temporaryFolder } from './folder.ts'
import { owner } from './owner.ts'
import { writeQuantised } from './quantised.ts'
import type { FileType } from './quantised.ts'
import { TINY, writeTinyModel } from './tiny-model.ts'

const own = owner()
const folder = temporaryFolder()
const paths: Record<string, string> = {}
const IDS = [7, 20]
const SETTINGS = { keep: 'all', chunkQueries: 32, headRows: 16 } as const

/** A base's path; each is made when it is first asked for. */
function baseOf(name: string): string {
  if (paths[name] !== undefined) return paths[name]
  const backend = openBackend({ threads: 1 })
  if (name === 'tied' || name === 'untied') {
    paths[name] = join(folder, `${name}.gguf`)
    writeTinyModel(backend, paths[name], { ...TINY, width: 64, feedForward: 64, tied: name === 'tied' })
  } else paths[name] = writeQuantised(backend, folder, name as FileType)
  backend.dispose()
  return paths[name]
}

/** Two sequences in which the trained tokens stand as inputs and as targets, and in which others do. */
const [ROW] = pack(
  [24, 17].map((length, i) => {
    const random = seeded('rows', i)
    const tokens = Int32Array.from({ length }, (_, t) => (t % 5 === 1 ? IDS[t % 2]! : random.integer(3, 90)))
    return { tokens, mask: Uint8Array.from({ length }, (_, t) => Number(t > 2)) }
  }),
  64
)

async function open(base: string): Promise<{ model: Model; parameters: Parameters; trainer: Trainer }> {
  const model = own(await loadModel(baseOf(base), own.backend(), { writable: true }))
  const adapter = own(await createAdapter(model, LoraSettings.parse({ r: 4 }), 1))
  for (const { b } of adapter.pairs) {
    const random = seeded('b', b.ne[1])
    write(
      model.backend,
      b,
      Float32Array.from({ length: b.ne[0] * b.ne[1] }, () => 0.05 * random.normal())
    )
  }
  adapter.publish()
  const parameters = own(new Parameters(model, { kind: 'adapter', adapter }, { tokenIndices: IDS }))
  return { model, parameters, trainer: own(new Trainer(parameters, SETTINGS)) }
}

const N = ROW!.at.length
const [weightOfLogprob, weightOfEntropy] = ['logprob', 'entropy'].map((what) => {
  const random = seeded('weights', what)
  return Float32Array.from({ length: N }, () => random.normal())
}) as [Float32Array, Float32Array]

test.each([
  ['untied', true],
  ['untied', false],
  ['tied', true],
  ['tied', false]
])('%s: gradients match central differences, entropy %s', async (base, withEntropy) => {
  const { model, parameters, trainer } = await open(base)
  const { trained, gradients } = parameters.rows!
  // away from the base's own values, so that the head's transposed copy holds other rows than the head
  for (const { name, value } of trained.tables) {
    const random = seeded('moved', name)
    write(
      model.backend,
      value,
      readF32(model.backend, value).map((it) => it + 0.1 * random.normal())
    )
  }
  trained.publish()
  const entropyWeights = withEntropy ? weightOfEntropy : new Float32Array(N)
  const loss = (): number => {
    const { logprobs, entropy } = trainer.score(ROW!)
    return logprobs.reduce((sum, it, i) => sum + it * weightOfLogprob[i]! + entropy[i]! * entropyWeights[i]!, 0)
  }
  trainer.accumulate(ROW!, ({ logprobs }, from) => ({
    logprob: weightOfLogprob.slice(from, from + logprobs.length),
    entropy: entropyWeights.slice(from, from + logprobs.length)
  }))
  trained.tables.forEach(({ name, value }, i) => {
    const at = readF32(model.backend, value)
    const gradient = readF32(model.backend, gradients[i]!)
    expect(gradient.every(Number.isFinite), name).toBe(true)
    for (const which of [0, 1, 2]) {
      const random = seeded('direction', name, which)
      const direction = at.map(() => random.normal())
      const step = 2e-3
      const [up, down] = [step, -step].map((by) => {
        write(
          model.backend,
          value,
          at.map((it, j) => it + by * direction[j]!)
        )
        trained.publish()
        return loss()
      })
      write(model.backend, value, at)
      trained.publish()
      const expected = (up! - down!) / (2 * step)
      const found = gradient.reduce((sum, it, j) => sum + it * direction[j]!, 0)
      const scale = Math.hypot(...gradient)
      expect(scale).toBeGreaterThan(0.1)
      expect(Math.abs(found - expected) / scale, `${name}, direction ${which}`).toBeLessThan(5e-3)
    }
  })
  // the gradient of what lies under the head sees the new rows too: an adapter's A, along a direction
  const a = parameters.list.find(({ name }) => name === 'blk.0.attn_q.weight.lora_a')!
  const at = readF32(model.backend, a.value)
  const gradient = readF32(model.backend, a.gradient)
  const random = seeded('direction', 'a')
  const direction = at.map(() => random.normal())
  const [up, down] = [1e-2, -1e-2].map((by) => {
    write(model.backend, a.value, at.map((it, j) => it + by * direction[j]!)) // prettier-ignore
    return loss()
  })
  const found = gradient.reduce((sum, it, j) => sum + it * direction[j]!, 0)
  expect(Math.abs(found - (up! - down!) / 2e-2) / Math.hypot(...gradient)).toBeLessThan(2e-2)
})

test.each(['untied', 'Q8_0', 'Q4_K', 'tied'])(
  '%s: a step moves these rows and no others, sampler and trainer alike',
  async (base) => {
    const { model, parameters, trainer } = await open(base)
    const tables = tokenTables(model.backend, model.info, model.config.head)
    const before = tables.map(({ name }) => readBytes(model.backend, model.weight(name)))
    const text = `${model.vocabulary.decode([IDS[0]!])} and then `.repeat(6)
    const sampled = await perplexityOf(model, text)
    const reference = trainer.score(ROW!, { reference: true })
    const settings = { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weightDecay: 0, maxGradNorm: 1 }
    const optimizer = own(new AdamW(parameters, settings))
    for (let step = 0; step < 3; step++) {
      trainer.accumulate(ROW!, ({ logprobs }) => ({
        logprob: new Float32Array(logprobs.length).fill(-1),
        entropy: new Float32Array(logprobs.length)
      }))
      expect(optimizer.step({ a: 0, b: 0, weight: 0.05 }).applied).toBe(true)
    }
    tables.forEach(({ name, rowBytes }, i) => {
      const after = readBytes(model.backend, model.weight(name))
      const moved = new Set<number>()
      after.forEach((byte, at) => byte !== before[i]![at] && moved.add(Math.floor(at / rowBytes)))
      expect(
        [...moved].sort((x, y) => x - y),
        name
      ).toEqual(IDS)
    })
    expect((await perplexityOf(model, text)).perplexity).not.toBeCloseTo(sampled.perplexity, 3)
    expect(trainer.score(ROW!, { reference: true })).toEqual(reference) // the base, as it was

    // what is handed over is what was trained
    const to = join(folder, `${base}-derived.gguf`)
    await deriveGguf({ from: baseOf(base), to, values: {}, patches: parameters.rows!.trained.patches(), force: true })
    const info = await readGguf(to)
    for (const table of tokenTables(model.backend, info, model.config.head)) {
      const live = readBytes(model.backend, model.weight(table.name))
      const all = readRowBytes(
        to,
        table,
        Int32Array.from({ length: table.rows }, (_, id) => id)
      )
      expect(Buffer.from(all).equals(Buffer.from(live)), table.name).toBe(true)
    }

    // and what is kept is taken up again
    const kept = parameters.rows!.trained.dump()
    const again = await open(base)
    again.parameters.rows!.trained.restore(kept)
    expect(again.trainer.score(ROW!)).toEqual(trainer.score(ROW!))
  }
)

test('tokens that are not there, and a base that is only mapped, are refused', async () => {
  const backend = own.backend()
  const mapped = own(await loadModel(baseOf('untied'), backend))
  const adapter = own(await createAdapter(mapped, LoraSettings.parse({ r: 4 }), 1))
  const make = (model: Model, tokenIndices: number[]): unknown =>
    new Parameters(model, { kind: 'adapter', adapter }, { tokenIndices })
  expect(() => make(mapped, [1])).toThrow(/only mapped/)
  expect(() => make(mapped, [1, 1])).toThrow(/twice/)
  expect(() => make(mapped, [4000])).toThrow(/no token of this base/)
})
