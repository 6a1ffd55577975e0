/** Weights that llama.cpp lays out for the CPU's products: which they are, and that training from them is training. */
import { expect, test } from 'vitest'
import { LoraSettings } from '../../src/shared/recipe.ts'
import { createAdapter } from '../../src/main/engine/adapter.ts'
import { loadModel } from '../../src/main/engine/model.ts'
import type { Loading, Model } from '../../src/main/engine/model.ts'
import { planMemory } from '../../src/main/engine/memory.ts'
import { targetModules } from '../../src/main/engine/arch/targets.ts'
import { Parameters } from '../../src/main/engine/parameters.ts'
import type { ForwardWeights } from '../../src/main/engine/parameters.ts'
import { readBytes, readF32, TYPE } from '../../src/main/engine/tensor.ts'
import type { TypeName } from '../../src/main/engine/tensor.ts'
import { Trainer } from '../../src/main/engine/trainer.ts'
import { pack } from '../../src/main/engine/batch.ts'
import { randomAdapter, randomSequence } from './decode-comparer.ts'
import { temporaryFolder } from './folder.ts'
import { owner } from './owner.ts'
import { writeQuantised } from './quantised.ts'
import { TINY } from './tiny-model.ts'

const own = owner()
const folder = temporaryFolder()

/** Matrices whose rows training reads. */
const TABLES = ['token_embd.weight', 'output.weight']

const load = async (type: TypeName, options: Loading): Promise<Model> => {
  const backend = own.backend()
  return own(await loadModel(writeQuantised(backend, folder, type), backend, options))
}
const matrices = ({ info }: Model): string[] =>
  [...info.tensors].filter(([, { ne }]) => ne[1] > 1).map(([name]) => name)

test.each(['F32', 'F16', 'Q8_0', 'Q4_0', 'Q4_1', 'Q4_K', 'Q6_K', 'IQ4_NL'] as const)(
  'what of %s llama.cpp packs is foreseen',
  async (type) => {
    const model = await load(type, { packed: true })
    for (const name of matrices(model)) {
      const { ne } = model.weight(name)
      const foreseen = !TABLES.includes(name) && model.backend.packs(TYPE[type], ne[0], ne[1])
      expect(model.packed(name), name).toBe(foreseen)
    }
    const plain = await load(type, {})
    for (const name of matrices(plain)) {
      expect(plain.packed(name), name).toBe(false)
      expect(plain.stored(name), name).toEqual(readBytes(plain.backend, plain.weight(name)))
    }
  }
)

/** Gradients of an adapter over one row, and what they were computed with. */
async function trained(type: TypeName, options: Loading, forward: ForwardWeights) {
  const model = await load(type, options)
  const adapter = own(await randomAdapter(model))
  const parameters = own(new Parameters(model, { kind: 'adapter', adapter }, { forward, transposes: 'cached' }))
  const trainer = own(new Trainer(parameters, { keep: 'all', chunkQueries: 64, headRows: 64 }))
  const row = pack([randomSequence(40, 7, TINY.vocabulary)], 40)[0]!
  trainer.accumulate(row, ({ logprobs }) => ({
    logprob: new Float32Array(logprobs.length).fill(-1),
    entropy: new Float32Array(logprobs.length)
  }))
  const gradients = Float32Array.from(parameters.list.flatMap(({ gradient }) => [...readF32(model.backend, gradient)]))
  const transposed = parameters.layers.flatMap(({ linears }) =>
    Object.values(linears).map((it) => readBytes(model.backend, it.transposed!))
  )
  return { model, parameters, gradients, transposed }
}

const norm = (values: Float32Array): number => Math.sqrt(values.reduce((sum, it) => sum + it * it, 0))

test.each(['Q4_0', 'Q4_K'] as const)('%s trains packed as it does plain', async (type) => {
  const packed = await trained(type, { packed: true }, 'copies')
  const plain = await trained(type, {}, 'own')
  const name = 'blk.0.ffn_down.weight'
  if (!packed.model.packed(name)) return void console.log(`this CPU has no packed layout of ${type}`)
  expect(packed.transposed).toEqual(plain.transposed)
  const difference = packed.gradients.map((it, i) => it - plain.gradients[i]!)
  // both round activations alike; sums in another order fall on other sides of that rounding (see agree.test.ts)
  expect(norm(difference) / norm(plain.gradients)).toBeLessThan(0.03)
  expect(norm(plain.gradients)).toBeGreaterThan(0)
})

test.each(['Q4_0', 'Q4_K', 'Q8_0'] as const)('the plan knows the copies of %s', async (type) => {
  const { model, parameters } = await trained(type, { packed: true }, 'copies')
  const { backend, architecture, config, info } = model
  const plan = planMemory(
    backend,
    { architecture, config, info },
    {
      trained: { kind: 'lora', r: 4, targets: targetModules(architecture, 'all-linear') },
      tokens: 256,
      limitBytes: 2 ** 34
    }
  )
  expect(plan.settings).toMatchObject({ forward: 'copies', transposes: 'cached' })
  const padding = 32 * parameters.layers.length * 16
  expect(Math.abs(parameters.bytes.copies - plan.bytes.copies)).toBeLessThan(padding)
})

test('what lies packed is never transposed from its rows', async () => {
  const model = await load('Q4_0', { packed: true })
  if (!model.packed('blk.0.ffn_down.weight')) return void console.log('this CPU has no packed layout of Q4_0')
  const adapter = own(await createAdapter(model, LoraSettings.parse({ r: 4 }), 1))
  expect(() => new Parameters(model, { kind: 'adapter', adapter }, { transposes: 'per layer' })).toThrow(/lies packed/)
})
