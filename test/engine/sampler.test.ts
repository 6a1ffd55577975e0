/** Rollouts: seeds, groups that share a prompt, slots that are taken over, cancelling in the middle of a decode. */
import { join } from 'node:path'
import { beforeAll, describe, expect, it } from 'vitest'
import { openBackend } from '../../src/main/engine/backend.ts'
import { loadModel } from '../../src/main/engine/model.ts'
import { Sampler } from '../../src/main/engine/sampler.ts'
import { AppError } from '../../src/shared/errors.ts'
import { SamplingSettings } from '../../src/shared/recipe.ts'
import { temporaryFolder } from './folder.ts'
import { owner } from './owner.ts'
import { TINY, writeTinyModel } from './tiny-model.ts'

const own = owner()
const path = join(temporaryFolder(), 'tiny.gguf')
beforeAll(() => {
  const backend = openBackend({ threads: 1 })
  writeTinyModel(backend, path, { ...TINY, contextLength: 4096 })
  backend.dispose()
})

const sampling = SamplingSettings.parse({})
const requests = [3, 5, 7, 11].map((first, i) => ({
  prompt: Int32Array.from({ length: 6 + 3 * i }, (_, t) => 4 + ((first * (t + 1)) % 100)),
  seeds: Array.from({ length: 5 }, (_, member) => `${i}/${member}`)
}))

async function sampler(width: number): Promise<Sampler> {
  const model = own(await loadModel(path, own.backend()))
  return own(new Sampler(model, { width, contextTokens: 2048 }))
}

describe('sampler', () => {
  it('gives the same tokens for the same seeds at the same width, and other tokens for other seeds', async () => {
    const it = await sampler(6)
    const options = { sampling, maxTokens: 20, adapter: null }
    const [one, two] = [await it.generate(requests, options), await it.generate(requests, options)]
    expect(two.groups).toEqual(one.groups)
    const texts = one.groups.flat().map(({ tokens }) => tokens.join())
    expect(new Set(texts).size).toBeGreaterThan(15)
  })

  it('samples what a sequence alone in its slot samples, whatever shares the batch or had the slot before', async () => {
    const options = { sampling, maxTokens: 20, adapter: null }
    const alone = await (await sampler(1)).generate(requests, options)
    const together = await (await sampler(6)).generate(requests, options)
    together.groups.forEach((group, request) =>
      group.forEach(({ logprobs, tokens }, member) => {
        const other = alone.groups[request]![member]!
        // the cache is F16 and batches round differently, so a draw near a boundary may fall either way: compare up to there
        const same = tokens.findIndex((token, t) => token !== other.tokens[t])
        const shared = same < 0 ? tokens.length : same
        for (let t = 0; t < shared; t++) expect(Math.abs(logprobs[t]! - other.logprobs[t]!)).toBeLessThan(0.05)
      })
    )
    const equal = together.groups
      .flat()
      .filter(({ tokens }, i) => tokens.join() === alone.groups.flat()[i]!.tokens.join())
    expect(equal.length).toBeGreaterThan(15)
  })

  it('stops within 200 ms of the signal, in the middle of a long prompt, and samples again after it', async () => {
    const it = await sampler(1)
    const options = { sampling, maxTokens: 20, adapter: null }
    const before = await it.generate(requests.slice(0, 1), options)
    const stop = new AbortController()
    const long = { prompt: Int32Array.from({ length: 2000 }, (_, t) => 4 + (t % 100)), seeds: ['long'] }
    let asked = 0
    setTimeout(() => {
      asked = performance.now()
      stop.abort()
    }, 30)
    const cancelled = it.generate([long], { ...options, signal: stop.signal })
    await expect(cancelled).rejects.toThrow(AppError)
    expect(asked).toBeGreaterThan(0)
    expect(performance.now() - asked).toBeLessThan(200)
    expect(await it.generate(requests.slice(0, 1), options)).toMatchObject({ groups: before.groups })
  })
})
