/** Prompts that take several native calls: the sampler sees what one call over the whole prompt would. */
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { loadModel } from '../../src/main/engine/model.ts'
import { Sampler } from '../../src/main/engine/sampler.ts'
import { AppError } from '../../src/shared/errors.ts'
import { seeded } from '../../src/shared/random.ts'
import { decodeLogits, logSoftmax } from './decode.ts'
import { temporaryFolder } from './folder.ts'
import { owner } from './owner.ts'
import { TINY, writeTinyModel } from './tiny-model.ts'

const own = owner()
const folder = temporaryFolder()
const sampling = { temperature: 1, top_k: 0, top_p: 1, min_p: 0 }
const prompt = (length: number, name: string): Int32Array => {
  const random = seeded(name)
  return Int32Array.from({ length }, () => random.integer(3, 100))
}

async function tiny() {
  const backend = own.backend()
  const path = join(folder, 'tiny.gguf')
  writeTinyModel(backend, path)
  return own(await loadModel(path, backend))
}

test('one token after prompts of 1 to 200 tokens, side by side', async () => {
  const model = await tiny()
  const sampler = own(new Sampler(model, { width: 3, contextTokens: 210 }))
  const prompts = [200, 1, 64, 65, 130, 63].map((length) => prompt(length, `p${length}`))
  const requests = prompts.map((tokens, i) => ({ prompt: tokens, seeds: [`${i}/a`, `${i}/b`] }))
  const { groups } = await sampler.generate(requests, { sampling, maxTokens: 1, adapter: null })
  prompts.forEach((tokens, i) => {
    const after = logSoftmax(decodeLogits(model, tokens, null), TINY.vocabulary).slice(-TINY.vocabulary)
    // llama.cpp's fused attention accumulates in F16, which alone makes a difference of some thousandths
    for (const { tokens: drawn, logprobs } of groups[i]!)
      expect(Math.abs(logprobs[0]! - after[drawn[0]!]!)).toBeLessThan(0.02)
  })
})

test('a cancel is heard between the calls, before anything is sampled', async () => {
  const sampler = own(new Sampler(await tiny(), { width: 8, contextTokens: 256 }))
  const stop = new AbortController()
  const requests = Array.from({ length: 64 }, (_, i) => ({ prompt: prompt(250, `c${i}`), seeds: ['s'] }))
  let sampled = 0
  const job = sampler.generate(requests, { sampling, maxTokens: 1, adapter: null, signal: stop.signal, onToken: () => sampled++ }) // prettier-ignore
  stop.abort()
  await expect(job).rejects.toBeInstanceOf(AppError)
  expect(sampled).toBe(0)
})
