/** The head under a sampling temperature, and which targets it finds likeliest. */
import { join } from 'node:path'
import { beforeAll, expect, test } from 'vitest'
import { createAdapter } from '../../src/main/engine/adapter.ts'
import { openBackend } from '../../src/main/engine/backend.ts'
import { pack } from '../../src/main/engine/batch.ts'
import { Head } from '../../src/main/engine/head.ts'
import { loadModel } from '../../src/main/engine/model.ts'
import { Parameters } from '../../src/main/engine/parameters.ts'
import { Sampler } from '../../src/main/engine/sampler.ts'
import { elements, readF32 } from '../../src/main/engine/tensor.ts'
import { Trainer } from '../../src/main/engine/trainer.ts'
import { LoraSettings, SamplingSettings } from '../../src/shared/recipe.ts'
import { expectGradients } from './differences.ts'
import { temporaryFolder } from './folder.ts'
import { owner } from './owner.ts'
import { Rig } from './rig.ts'
import { TINY, writeTinyModel } from './tiny-model.ts'
import { wholeDistribution } from './whole-distribution.ts'

const own = owner()
const folder = temporaryFolder()
const [tied, untied] = [join(folder, 'tied.gguf'), join(folder, 'untied.gguf')]
const SHAPE = { ...TINY, layers: 1, width: 32, feedForward: 32, vocabulary: 120 }
beforeAll(() => {
  const backend = openBackend({ threads: 1 })
  writeTinyModel(backend, tied, { ...SHAPE, tied: true })
  writeTinyModel(backend, untied, SHAPE)
  backend.dispose()
})

test.each([
  [tied, 0.6],
  [untied, 1.7]
])('gradients under a temperature: %s at %d', async (path, temperature) => {
  const rig = new Rig(own)
  const model = own(await loadModel(path, rig.backend, { writable: true }))
  const parameters = own(new Parameters(model, { kind: 'full' }))
  const head = own(new Head(parameters, 3, temperature))
  const hidden = rig.random('hidden', 1, model.config.width, 8)
  const into = rig.zeros(model.config.width, 9)
  rig.ready()
  head.attach(hidden, into)
  const at = Int32Array.of(0, 2, 3, 5, 7)
  const targets = Int32Array.of(4, 9, 4, 119, 0)
  const dLogprob = Float32Array.of(1, -2, 0.5, 3, -1)
  const dEntropy = Float32Array.of(0.7, 0, -1.5, 2, 0)
  const chunks = [[0, 3], [3, 5]] as const // prettier-ignore
  const loss = (): number => {
    let sum = 0
    for (const [from, to] of chunks) {
      const { logprobs, entropy } = head.forward(at, targets, from, to)
      for (let i = 0; i < to - from; i++) sum += dLogprob[from + i]! * logprobs[i]! + dEntropy[from + i]! * entropy[i]!
    }
    return sum
  }
  for (const [from, to] of chunks) {
    head.forward(at, targets, from, to)
    head.backward(dLogprob.subarray(from, to), dEntropy.subarray(from, to))
  }
  const gradientOf = (name: string) => parameters.list.find((it) => it.name === name)!.gradient
  expectGradients(rig.backend, loss, [
    { name: 'hidden', value: hidden, gradient: readF32(rig.backend, into).subarray(0, elements(hidden)) },
    ...['output_norm.weight', model.config.head].map((name) => rig.checked(name, model.weight(name), gradientOf(name)))
  ])
})

test('log-probabilities and entropy are those of softmax(logits / temperature), and the likeliest target is told', async () => {
  const model = own(await loadModel(untied, own.backend()))
  const adapter = own(await createAdapter(model, LoraSettings.parse({ r: 2 }), 1))
  const parameters = own(new Parameters(model, { kind: 'adapter', adapter }))
  const trainerAt = (temperature = 1): Trainer =>
    own(new Trainer(parameters, { keep: 'all', chunkQueries: 64, headRows: 16 }, { temperature }))
  const sequence = { tokens: Int32Array.of(5, 6, 7), mask: Uint8Array.of(0, 1, 1) }
  const every = wholeDistribution(pack([sequence], 16)[0]!, SHAPE.vocabulary) // each position asked for every token
  const plain = trainerAt().score(every)
  const warm = trainerAt(2).score(every)
  for (const from of [0, SHAPE.vocabulary]) {
    const logits = [...plain.logprobs.subarray(from, from + SHAPE.vocabulary)] // up to a constant
    const weights = logits.map((z) => Math.exp(z / 2))
    const sum = weights.reduce((total, it) => total + it, 0)
    const expected = weights.map((it) => Math.log(it / sum))
    const entropy = -expected.reduce((total, it) => total + Math.exp(it) * it, 0)
    expected.forEach((value, i) => expect(warm.logprobs[from + i]).toBeCloseTo(value, 4))
    expect(warm.entropy[from]).toBeCloseTo(entropy, 4)
    const likeliest = logits.indexOf(Math.max(...logits))
    for (const { top } of [plain, warm])
      expect([...top.subarray(from, from + SHAPE.vocabulary)].map((hit, i) => (hit ? i : -1)).filter((i) => i >= 0)).toEqual([likeliest]) // prettier-ignore
  }
})

test.each([0.5, 1, 1.6])(
  'sampled at %d, the decoder’s log-probabilities are the trainer’s at that temperature',
  async (temperature) => {
    const model = own(await loadModel(untied, own.backend()))
    const adapter = own(await createAdapter(model, LoraSettings.parse({ r: 2 }), 1))
    const parameters = own(new Parameters(model, { kind: 'adapter', adapter }))
    const sampler = own(new Sampler(model, { width: 4, contextTokens: 32 }))
    const prompt = Int32Array.of(5, 6, 7)
    const sampling = SamplingSettings.parse({ temperature, top_k: 40 })
    const { groups } = await sampler.generate([{ prompt, seeds: ['a', 'b', 'c', 'd'] }], { sampling, maxTokens: 20, adapter }) // prettier-ignore
    const sequences = groups[0]!.map(({ tokens }) => {
      const all = Int32Array.from([...prompt, ...tokens])
      return { tokens: all, mask: new Uint8Array(all.length).fill(1, prompt.length) }
    })
    const trainer = own(new Trainer(parameters, { keep: 'all', chunkQueries: 64, headRows: 16 }, { temperature }))
    const ours = pack(sequences, 64).flatMap((row) => [...trainer.score(row).logprobs])
    const theirs = groups[0]!.flatMap(({ logprobs }) => [...logprobs])
    expect(ours).toHaveLength(theirs.length)
    ours.forEach((value, t) => expect(Math.abs(value - theirs[t]!)).toBeLessThan(0.02)) // F16 cache of the decoder
  }
)
