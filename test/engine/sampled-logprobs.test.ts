/** The three logprobs of a sampled token, against logits that are decoded again and computed with in double precision. */
import { join } from 'node:path'
import koffi from 'koffi'
import { beforeAll, describe, expect, it } from 'vitest'
import { openBackend } from '../../src/main/engine/backend.ts'
import { Decoder } from '../../src/main/engine/decoder.ts'
import type { Pointer } from '../../src/main/engine/ffi/structs.ts'
import { loadModel } from '../../src/main/engine/model.ts'
import type { Model } from '../../src/main/engine/model.ts'
import { ProbabilityRows, temperatureOneLogprob } from '../../src/main/engine/probability-rows.ts'
import { Sampler } from '../../src/main/engine/sampler.ts'
import { seeded } from '../../src/shared/random.ts'
import { SamplingSettings } from '../../src/shared/recipe.ts'
import { temporaryFolder } from './folder.ts'
import { owner } from './owner.ts'
import { TINY, writeTinyModel } from './tiny-model.ts'

const own = owner()
const path = join(temporaryFolder(), 'tiny.gguf')
beforeAll(() => {
  const backend = openBackend({ threads: 1 })
  writeTinyModel(backend, path, TINY)
  backend.dispose()
})

const CONTEXT = 128
const PROMPT = Int32Array.from({ length: 9 }, (_, t) => 4 + ((7 * (t + 1)) % 100))

/** The logits that each of `tokens` was drawn from: the same decode as the sampler's, token by token. */
async function logitsBefore(model: Model, tokens: Int32Array): Promise<Float64Array[]> {
  const decoder = own(new Decoder(model, { width: 1, contextTokens: CONTEXT }))
  const read = (at: Pointer): Float64Array =>
    Float64Array.from(koffi.decode(at, 'float', model.config.vocabulary) as number[])
  const prompt = [...PROMPT].map((token, position) => ({
    token,
    position,
    slot: 0,
    wantsLogits: position === PROMPT.length - 1
  }))
  const rows = [read(await decoder.decode(prompt))]
  for (const [i, token] of tokens.subarray(0, -1).entries())
    rows.push(read(await decoder.decode([{ token, position: PROMPT.length + i, slot: 0, wantsLogits: true }])))
  return rows
}

function logSoftmax(logits: Float64Array, temperature: number): Float64Array {
  const scaled = logits.map((it) => it / temperature)
  const top = scaled.reduce((most, it) => Math.max(most, it), -Infinity)
  const logSum = top + Math.log(scaled.reduce((sum, it) => sum + Math.exp(it - top), 0))
  return scaled.map((it) => it - logSum)
}

/** Tokens that the filters leave, one filter after the other, as they are described in Transformers. */
function kept(logprobs: Float64Array, { top_k, top_p, min_p }: SamplingSettings): number[] {
  let tokens = [...logprobs.keys()].sort((a, b) => logprobs[b]! - logprobs[a]! || a - b)
  const mass = (): number => tokens.reduce((sum, token) => sum + Math.exp(logprobs[token]!), 0)
  if (top_k > 0) tokens = tokens.slice(0, top_k)
  const whole = mass()
  let sum = 0
  if (top_p < 1)
    tokens = tokens.slice(0, tokens.findIndex((token) => (sum += Math.exp(logprobs[token]!)) >= top_p * whole) + 1)
  const floor = min_p * Math.exp(logprobs[tokens[0]!]!)
  return tokens.filter((token) => Math.exp(logprobs[token]!) >= floor)
}

const FILTERED = { top_k: 40, top_p: 0.9, min_p: 0.05 }

describe.each([0.7, 1, 1.3])('at temperature %d', (temperature) => {
  it.each([
    ['without filters', {}],
    ['with top-k, top-p and min-p', FILTERED]
  ])('%s: tokens by the seed, logprobs under the sampling distribution, unfiltered, and at 1', async (_, filters) => {
    const sampling = SamplingSettings.parse({ temperature, ...filters })
    const model = own(await loadModel(path, own.backend()))
    const sampler = own(new Sampler(model, { width: 1, contextTokens: CONTEXT }))
    const options = { sampling, maxTokens: 60, adapter: null }
    const { groups } = await sampler.generate([{ prompt: PROMPT, seeds: ['a'] }], options)
    const rollout = groups[0]![0]!
    expect(rollout.tokens.length).toBeGreaterThan(20)
    const logits = await logitsBefore(model, rollout.tokens)
    const random = seeded('a')
    rollout.tokens.forEach((token, t) => {
      const [atTemperature, atOne] = [logSoftmax(logits[t]!, temperature), logSoftmax(logits[t]!, 1)]
      const left = sampling.top_k > 0 ? kept(atTemperature, sampling) : [...atTemperature.keys()]
      const sum = left.reduce((total, it) => total + Math.exp(atTemperature[it]!), 0)
      // the draw: the first token whose cumulative probability passes the seed's number
      const target = random.next() * sum
      let reached = 0
      expect(left.find((it) => (reached += Math.exp(atTemperature[it]!)) > target)).toBe(token)
      expect(rollout.samplingLogprobs[t]).toBeCloseTo(atTemperature[token]! - Math.log(sum), 5)
      expect(rollout.logprobs[t]).toBeCloseTo(atTemperature[token]!, 5)
      expect(rollout.temperatureOneLogprobs[t]).toBeCloseTo(atOne[token]!, 5)
    })
    expect(rollout.temperatureOneLogprobs === rollout.logprobs).toBe(temperature === 1)
  })
})

it('knows the logprob at 1 of tokens whose probabilities F32 cannot hold under the temperature, or at 1', async () => {
  const model = own(await loadModel(path, own.backend()))
  const { vocabulary } = model.config
  const rows = own(new ProbabilityRows(model, 2))
  const random = seeded('logits')
  // one token stands out of a crowd that only at 1 weighs something, and one row is spread over hundreds of nats
  const crowd = Float64Array.from({ length: vocabulary }, (_, i) => (i === 7 ? 8 : 0.3 * random.normal()))
  const spread = Float64Array.from({ length: vocabulary }, (_, i) => -3 * i)
  const logits = Float32Array.from([...crowd, ...spread])
  for (const [temperature, row, tokens] of [
    [0.05, 0, [7]],
    [5, 1, [0, 40, 100]]
  ] as const) {
    rows.load(koffi.address(logits) as Pointer, 2, temperature)
    const exact = logSoftmax(Float64Array.from(logits.subarray(row * vocabulary, (row + 1) * vocabulary)), 1)
    for (const token of tokens) {
      const value = temperatureOneLogprob(rows.row(row), token)
      expect(Math.abs(value - exact[token]!) / Math.max(1, Math.abs(exact[token]!))).toBeLessThan(1e-5)
    }
  }
})
