/** What fails for want of memory says so and gives back what it had; the same for files that turn out broken late. */
import { closeSync, openSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, describe, expect, test } from 'vitest'
import { Activations } from '../../src/main/engine/activations.ts'
import { createAdapter } from '../../src/main/engine/adapter.ts'
import { openBackend } from '../../src/main/engine/backend.ts'
import type { Backend } from '../../src/main/engine/backend.ts'
import { ownedCounts } from '../../src/main/engine/ffi/owned.ts'
import { loadModel } from '../../src/main/engine/model.ts'
import type { Model } from '../../src/main/engine/model.ts'
import { AdamW } from '../../src/main/engine/optimizer.ts'
import { Parameters } from '../../src/main/engine/parameters.ts'
import { pack } from '../../src/main/engine/batch.ts'
import { Sampler } from '../../src/main/engine/sampler.ts'
import { Trainer } from '../../src/main/engine/trainer.ts'
import { readWhole } from '../../src/main/files/whole-file.ts'
import { dialogueOf } from '../../src/main/policy/dialogue.ts'
import { LoraSettings } from '../../src/shared/recipe.ts'
import { temporaryFolder } from './folder.ts'
import { owner } from './owner.ts'
import { rationed } from './rationed.ts'
import { CHAT_TEMPLATE, TINY, writeTinyModel } from './tiny-model.ts'

const own = owner()
const folder = temporaryFolder()
const base = join(folder, 'base.gguf')
const SHAPE = { ...TINY, layers: 1, width: 64, feedForward: 64 }
const withTemplate = (name: string, value: string): string => {
  const backend = openBackend({ threads: 1 })
  const path = join(folder, `${name}.gguf`)
  writeTinyModel(backend, path, SHAPE, 1, { 'tokenizer.chat_template': { kind: 'text', value } })
  backend.dispose()
  return path
}
beforeAll(() => void withTemplate('base', CHAT_TEMPLATE))

type Disposable = { dispose(): void }
/** The same tensors, on a model whose backend may refuse. */
const weakened = (parameters: Parameters, model: Model): Parameters =>
  Object.assign(Object.create(parameters) as Parameters, { model })
/** Each makes one thing on a backend that may refuse; what it needs beside is made on one that does not. */
const MAKERS: Readonly<
  Record<string, (broken: Backend, model: Model, parameters: Parameters) => Promise<Disposable> | Disposable>
> = {
  'a sampler': (_, model) => new Sampler(model, { width: 2, contextTokens: 64 }),
  'every weight’s parameters': (_, model) => new Parameters(model, { kind: 'full' }),
  activations: (broken, { architecture, config }) => new Activations(broken, architecture, config, 64, { keep: 'all' }),
  'an adapter': (_, model) => createAdapter(model, LoraSettings.parse({ r: 2 }), 1),
  'a trainer': (_, model, parameters) =>
    new Trainer(weakened(parameters, model), { keep: 'all', chunkQueries: 64, headRows: 8 }),
  'an optimizer': (_, model, parameters) =>
    new AdamW(weakened(parameters, model), {
      beta1: 0.9,
      beta2: 0.9,
      epsilon: 1e-8,
      weightDecay: 0,
      maxGradNorm: 1
    })
}

describe.each(Object.keys(MAKERS))('%s', (name) => {
  test('that gets no memory is refused in words and leaves nothing, whichever allocation fails', async () => {
    const backend = own.backend()
    const model = own(await loadModel(base, backend, { writable: true }))
    const parameters = own(new Parameters(model, { kind: 'full' }))
    let failures = 0
    for (let n = 0; ; n++) {
      const { backend: broken, allow } = rationed(backend)
      allow(n)
      const before = ownedCounts()
      try {
        const made = await MAKERS[name]!(broken, { ...model, backend: broken }, parameters)
        made.dispose()
        break
      } catch (error) {
        expect(error, `allocation ${n}`).toMatchObject({ name: 'AppError', code: 'memory', hint: expect.any(String) })
        expect(ownedCounts(), `allocation ${n}`).toEqual(before)
        failures++
      }
    }
    expect(failures).toBeGreaterThan(0)
  })
})

test('a pass that gets no memory leaves a trainer that can be disposed of', async () => {
  const backend = own.backend()
  const model = own(await loadModel(base, backend))
  const row = pack([{ tokens: new Int32Array(32), mask: new Uint8Array(32).fill(1, 1) }], 32)[0]!
  const before = ownedCounts()
  let failures = 0
  for (let n = 0; ; n++) {
    const { backend: broken, allow } = rationed(backend)
    const weak = { ...model, backend: broken }
    const adapter = await createAdapter(weak, LoraSettings.parse({ r: 2 }), 1)
    const parameters = new Parameters(weak, { kind: 'adapter', adapter })
    const trainer = new Trainer(parameters, { keep: 'all', chunkQueries: 16, headRows: 8 })
    allow(n)
    const error = ((): unknown => {
      try {
        trainer.score(row)
        return null
      } catch (thrown) {
        return thrown
      }
    })()
    allow(Infinity)
    if (error !== null) {
      expect(error).toMatchObject({ code: 'memory' })
      failures++
      expect(trainer.score(row).logprobs).toHaveLength(31) // memory is back: the next pass is whole
    }
    for (const it of [trainer, parameters, adapter]) it.dispose()
    expect(ownedCounts()).toEqual(before)
    if (error === null) break
  }
  expect(failures).toBeGreaterThan(3)
})

describe('a base', () => {
  test('whose chat template cannot be parsed is refused by name, and nothing of it stays open', async () => {
    const path = withTemplate('unparsable', '{% for m in messages %}{{ m }')
    const before = ownedCounts()
    const backend = openBackend({ threads: 1 })
    const refused = expect.objectContaining({ code: 'model', message: expect.stringMatching(/unparsable\.gguf: its chat template/) as string, hint: expect.any(String) as string }) // prettier-ignore
    await expect(loadModel(path, backend)).rejects.toEqual(refused)
    backend.dispose()
    expect(ownedCounts()).toEqual(before)
  })

  test('whose chat template fails on a prompt says which template failed and how', async () => {
    const path = withTemplate('refusing', "{{ raise_exception('only the moon may ask') }}")
    const model = own(await loadModel(path, own.backend()))
    const render = (): unknown => dialogueOf(model.vocabulary)
    expect(render).toThrow(
      expect.objectContaining({
        name: 'AppError',
        code: 'model',
        message: expect.stringMatching(/refusing\.gguf: its chat template .*only the moon may ask/) as string
      }) as Error
    )
  })
})

test('a read that the end of the file cuts short is refused', () => {
  const path = join(folder, 'short')
  writeFileSync(path, 'ten bytes!')
  const file = openSync(path, 'r')
  const into = new Uint8Array(6)
  readWhole(file, into, 4, path)
  expect(Buffer.from(into).toString()).toBe('bytes!')
  expect(() => readWhole(file, into, 5, path)).toThrow(/short: the file ends too early/)
  closeSync(file)
})
