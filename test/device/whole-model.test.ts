/** Every weight trained on a device with memory of its own: `llama_decode` there sees the step, and the file written holds it. */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { openBackend } from '../../src/main/engine/backend.ts'
import { pack } from '../../src/main/engine/batch.ts'
import { loadModel } from '../../src/main/engine/model.ts'
import { AdamW } from '../../src/main/engine/optimizer.ts'
import { Parameters } from '../../src/main/engine/parameters.ts'
import { Trainer } from '../../src/main/engine/trainer.ts'
import { WholeModel } from '../../src/main/engine/whole-model.ts'
import { largestDifference } from '../engine/compare.ts'
import { decodeLogits, logSoftmax } from '../engine/decode.ts'
import { randomSequence } from '../engine/decode-comparer.ts'
import { temporaryFolder } from '../engine/folder.ts'
import { owner } from '../engine/owner.ts'
import { TINY, writeTinyModel } from '../engine/tiny-model.ts'

const own = owner()
const folder = temporaryFolder()
const TOKENS = randomSequence(40, 1, 90).tokens
/** llama.cpp and the trainer on one device: products and sums of F32 in another order, keys in F16 there. */
const TOLERANCE = 2e-3

test.each(['tied', 'untied'])('%s: sampler, trainer and file hold the weights of after the step', async (base) => {
  const [from, to] = [join(folder, `${base}.gguf`), join(folder, `${base} trained.gguf`)]
  const cpu = own(openBackend({ threads: 1 }))
  writeTinyModel(cpu, from, { ...TINY, width: 64, feedForward: 64, tied: base === 'tied' })
  const model = own(await loadModel(from, own.backend(), { writable: true }))
  const parameters = own(new Parameters(model, { kind: 'full' }))
  const trainer = own(new Trainer(parameters, { keep: 'all', chunkQueries: 16, headRows: 16 }))
  const settings = { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weightDecay: 0, maxGradNorm: 1 }
  const optimizer = own(new AdamW(parameters, settings))
  const whole = own(new WholeModel(parameters))
  const size = model.vocabulary.size
  const decoded = (): Float32Array => logSoftmax(decodeLogits(model, TOKENS, null), size)
  const before = decoded()
  const [batch] = pack([{ tokens: TOKENS, mask: new Uint8Array(TOKENS.length).fill(1) }], 64)
  trainer.accumulate(batch!, ({ logprobs }) => ({
    logprob: logprobs.map(() => -1),
    entropy: new Float32Array(logprobs.length)
  }))
  expect(optimizer.step({ a: 0, b: 0, weight: 1e-2 }).applied).toBe(true)
  const after = decoded()
  expect(largestDifference(after, before)).toBeGreaterThan(100 * TOLERANCE)
  const predicted = Float32Array.from(TOKENS.subarray(1), (token, i) => after[i * size + token]!)
  expect(largestDifference(trainer.score(batch!).logprobs, predicted)).toBeLessThan(TOLERANCE)

  writeFileSync(to, Buffer.concat([...whole.pieces()]))
  const loaded = own(await loadModel(to, own.backend()))
  expect(largestDifference(logSoftmax(decodeLogits(loaded, TOKENS, null), size), after)).toBe(0)
  whole.restore(from)
  expect(largestDifference(decoded(), before)).toBe(0)
})
