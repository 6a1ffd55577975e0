/**
 * Training forward against `llama_decode` on a real model: SmolLM2-135M-Instruct, Q4_1. Needs ../shared/models.
 *
 * Rounding flips (see test/engine/agree.test.ts) start within the first tokens and grow through 30 layers to the noise of
 * 8-bit activations. Measured over 71 tokens, mean |Δ log p| in nats: 0.05 with an F32 cache, 0.08 with llama.cpp's F16
 * cache; llama.cpp with its fused attention against itself without: 0.07. So it is llama.cpp's own spread that bounds ours.
 */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, expect, test } from 'vitest'
import { LoraSettings } from '../../src/shared/recipe.ts'
import { createAdapter } from '../../src/main/engine/adapter.ts'
import { openBackend } from '../../src/main/engine/backend.ts'
import { pack } from '../../src/main/engine/batch.ts'
import { ownedCounts } from '../../src/main/engine/ffi/owned.ts'
import { loadModel } from '../../src/main/engine/model.ts'
import { Parameters } from '../../src/main/engine/parameters.ts'
import { TYPE } from '../../src/main/engine/tensor.ts'
import { Trainer } from '../../src/main/engine/trainer.ts'
import { largestDifference, meanDifference } from '../engine/compare.ts'
import { decodeLogits, logSoftmax } from '../engine/decode.ts'

const MODEL = join(import.meta.dirname, '../../../shared/models/SmolLM2-135M-Instruct.Q4_1.gguf')
const TEXT =
  'Natalia sold clips to 48 of her friends in April, and then she sold half as many clips in May. How many clips did ' +
  'Natalia sell altogether in April and May? In May she sold 48 / 2 = 24 clips. Altogether she sold 48 + 24 = 72 clips.'

afterEach(() => expect(ownedCounts()).toEqual({}))

test.skipIf(!existsSync(MODEL))(`SmolLM2 Q4_1 (skipped without ${MODEL.slice(MODEL.indexOf('shared'))})`, async () => {
  const backend = openBackend({ threads: 1 })
  const model = await loadModel(MODEL, backend)
  const adapter = await createAdapter(model, LoraSettings.parse({ r: 4 }), 1)
  const parameters = new Parameters(model, { kind: 'adapter', adapter })
  const trainer = new Trainer(parameters, { keep: 'none', chunkQueries: 64, headRows: 32 })
  const tokens = model.vocabulary.tokenize(TEXT)
  const [batch] = pack([{ tokens, mask: new Uint8Array(tokens.length).fill(1) }], 128)
  const { logprobs } = trainer.score(batch!)
  const { vocabulary } = model.config
  const decoded = (cache: number, flash: boolean): Float32Array => {
    const logits = logSoftmax(decodeLogits(model, tokens, adapter, { cache, flash }), vocabulary)
    return Float32Array.from(tokens.subarray(1), (token, t) => logits[t * vocabulary + token]!)
  }
  const exactCache = decoded(TYPE.F32, false)
  const defaultCache = decoded(TYPE.F16, false)
  const fused = decoded(TYPE.F16, true)
  for (const it of [trainer, parameters, adapter, model, backend]) it.dispose()

  expect(largestDifference(logprobs.subarray(0, 2), exactCache.subarray(0, 2))).toBeLessThan(1e-4)
  const spread = Math.max(meanDifference(defaultCache, fused), meanDifference(exactCache, fused))
  expect(meanDifference(logprobs, exactCache)).toBeLessThan(2 * spread)
  expect(meanDifference(logprobs, defaultCache)).toBeLessThan(2 * spread)
  expect(Math.abs(mean(logprobs) - mean(exactCache))).toBeLessThan(0.05)
})

const mean = (values: Float32Array): number => values.reduce((sum, it) => sum + it, 0) / values.length
