/** Rows of single tokens trained on a device with memory of its own: the CPU's gradients, and `llama_decode` there sees the new rows. */
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { LoraSettings } from '../../src/shared/recipe.ts'
import { createAdapter } from '../../src/main/engine/adapter.ts'
import { openBackend } from '../../src/main/engine/backend.ts'
import type { Backend } from '../../src/main/engine/backend.ts'
import { pack } from '../../src/main/engine/batch.ts'
import { loadModel } from '../../src/main/engine/model.ts'
import { AdamW } from '../../src/main/engine/optimizer.ts'
import { Parameters } from '../../src/main/engine/parameters.ts'
import { readBytes, readF32 } from '../../src/main/engine/tensor.ts'
import { tokenTables } from '../../src/main/engine/token-rows.ts'
import { Trainer } from '../../src/main/engine/trainer.ts'
import { largestDifference } from '../engine/compare.ts'
import { decodeLogits, logSoftmax } from '../engine/decode.ts'
import { randomSequence } from '../engine/decode-comparer.ts'
import { temporaryFolder } from '../engine/folder.ts'
import { owner } from '../engine/owner.ts'
import { TINY, writeTinyModel } from '../engine/tiny-model.ts'

const own = owner()
const folder = temporaryFolder()
const IDS = [7, 20]
const TOKENS = randomSequence(40, 1, 90).tokens.map((token, t) => (t % 5 === 1 ? IDS[t % 2]! : token))

/** One step with rows and adapter, from coefficients with an entropy part; what it found and what it left. */
async function step(path: string, backend: Backend) {
  const model = own(await loadModel(path, backend, { writable: true }))
  const adapter = own(await createAdapter(model, LoraSettings.parse({ r: 4 }), 1))
  const parameters = own(new Parameters(model, { kind: 'adapter', adapter }, { tokenIndices: IDS }))
  const trainer = own(new Trainer(parameters, { keep: 'all', chunkQueries: 16, headRows: 16 }))
  // ε far over the gradients: the step is their multiple, and small ones weigh little
  const settings = { beta1: 0.9, beta2: 0.999, epsilon: 10, weightDecay: 0, maxGradNorm: 1 }
  const optimizer = own(new AdamW(parameters, settings))
  const [batch] = pack([{ tokens: TOKENS, mask: new Uint8Array(TOKENS.length).fill(1) }], 64)
  const tables = tokenTables(backend, model.info, model.config.head)
  const bytes = (): Uint8Array[] => tables.map(({ name }) => readBytes(backend, model.weight(name)))
  const before = bytes()
  const decodedBefore = decodeLogits(model, TOKENS, null)
  trainer.accumulate(batch!, ({ logprobs }) => ({
    logprob: logprobs.map((_, i) => -0.5 - (i % 3) / 3),
    entropy: logprobs.map((_, i) => 0.1 * (i % 2))
  }))
  const gradients = parameters.rows!.gradients.map((it) => readF32(backend, it))
  expect(optimizer.step({ a: 0, b: 0, weight: 5 }).applied).toBe(true)
  const moved = bytes().map((after, i) => {
    const rows = new Set<number>()
    after.forEach((byte, at) => byte !== before[i]![at] && rows.add(Math.floor(at / tables[i]!.rowBytes)))
    return [...rows]
  })
  const { logprobs } = trainer.score(batch!)
  const decoded = decodeLogits(model, TOKENS, null)
  return { gradients, moved, logprobs, decodedBefore, decoded }
}

test.each(['tied', 'untied'])('%s: a step is the CPU’s, and the sampler on the device follows it', async (base) => {
  const path = join(folder, `${base}.gguf`)
  const cpu = own(openBackend({ threads: 1 }))
  writeTinyModel(cpu, path, { ...TINY, width: 64, feedForward: 64, tied: base === 'tied' })
  const [ours, theirs] = [await step(path, own.backend()), await step(path, cpu)]
  expect(ours.gradients).toHaveLength(base === 'tied' ? 1 : 2)
  ours.gradients.forEach((it, i) => {
    const apart = Math.hypot(...it.map((value, j) => value - theirs.gradients[i]![j]!))
    expect(apart / Math.hypot(...theirs.gradients[i]!)).toBeLessThan(1e-4)
  })
  for (const rows of ours.moved) expect(rows.toSorted((a, b) => a - b)).toEqual(IDS)
  expect(largestDifference(ours.logprobs, theirs.logprobs)).toBeLessThan(1e-4)
  const { vocabulary } = TINY
  const [now, before] = [ours.decoded, ours.decodedBefore].map((it) => logSoftmax(it, vocabulary))
  expect(largestDifference(now!, logSoftmax(theirs.decoded, vocabulary))).toBeLessThan(2e-2) // llama.cpp's F16 keys there
  expect(largestDifference(now!, before!)).toBeGreaterThan(0.1)
})
