import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { TRAINABLE_ARCHITECTURES } from '../../../src/shared/architectures.ts'
import { readHeader } from '../../../src/main/data/models/header.ts'
import { places, scan } from '../../../src/main/data/models/scan.ts'
import { ARCHITECTURE_NAMES } from '../../../src/main/engine/arch/index.ts'
import { tinyGgufHeader } from '../../fake/gguf-header.ts'

const home = mkdtempSync(join(tmpdir(), 'models-'))
afterAll(() => rmSync(home, { recursive: true }))
const put = (path: string, text: string | Uint8Array = 'x'): string => {
  mkdirSync(join(home, path, '..'), { recursive: true })
  writeFileSync(join(home, path), text)
  return join(home, path)
}

test('the page and the engine name the same architectures', () =>
  expect(TRAINABLE_ARCHITECTURES).toEqual(ARCHITECTURE_NAMES))

test('models are found where other programs keep them, each once', () => {
  const hub = '.cache/huggingface/hub/models--a--b'
  put(`${hub}/blobs/abc`)
  mkdirSync(join(home, hub, 'snapshots/1'), { recursive: true })
  mkdirSync(join(home, hub, 'snapshots/2'), { recursive: true })
  for (const rev of ['1', '2'])
    symlinkSync(join(home, hub, 'blobs/abc'), join(home, hub, `snapshots/${rev}/b-Q8_0.gguf`))
  put('.lmstudio/models/a/c/c.GGUF')
  put('.ollama/models/blobs/sha256-77')
  put('.ollama/models/manifests/registry.ollama.ai/library/tiny/1b', JSON.stringify({ layers: [{ mediaType: 'application/vnd.ollama.image.template', digest: 'sha256:1' }, { mediaType: 'application/vnd.ollama.image.model', digest: 'sha256:77' }] })) // prettier-ignore
  put('.ollama/models/manifests/registry.ollama.ai/library/broken/x', '{')
  put('mine/big-00001-of-00003.gguf')
  put('mine/big-00002-of-00003.gguf')
  put('mine/notes.txt')
  put('mine/export.4711.partial/merged-F16.gguf') // an export that is being written, or was killed
  const found = scan(places([], [join(home, 'mine'), join(home, 'nowhere')], {}, home))
  expect(found.map(({ name, source }) => [name, source])).toEqual([
    ['b-Q8_0', 'Hugging Face cache'],
    ['c', 'LM Studio'],
    ['tiny:1b', 'Ollama'],
    ['big-00001-of-00003', join(home, 'mine')]
  ])
})

test('links to folders are followed, once; what is torn or no folder hides nothing', () => {
  const far = join(home, 'far')
  put('far/deep/linked.gguf')
  mkdirSync(join(home, 'chosen'))
  symlinkSync(far, join(home, 'chosen/disk'))
  symlinkSync(join(home, 'chosen'), join(far, 'round'))
  symlinkSync(join(home, 'gone'), join(far, 'dangling'))
  symlinkSync(join(home, 'gone.gguf'), join(far, 'dangling.gguf'))
  put('torn/manifests') // a file where Ollama has a folder
  const found = scan(places([], [join(home, 'chosen')], { OLLAMA_MODELS: join(home, 'torn') }, join(home, 'nobody')))
  expect(found.map(({ name }) => name)).toEqual(['linked'])
})

test('LM Studio’s models are found where its settings say', () => {
  put('moved/.lmstudio/settings.json', JSON.stringify({ downloadsFolder: join(home, 'moved/disk') }))
  put('moved/disk/a/b/m.gguf')
  const found = scan(places([], [], {}, join(home, 'moved')))
  expect(found.map(({ name, source }) => [name, source])).toEqual([['m', 'LM Studio']])
  put('moved/.lmstudio/settings.json', '{')
  expect(scan(places([], [], {}, join(home, 'moved')))).toEqual([])
})

test('the bundled base is read in words a person can use', async () => {
  const { facts, details } = await readHeader(join(import.meta.dirname, '../../../resources/base/base.gguf'))
  expect(facts).toMatchObject({
    kind: 'model',
    architecture: 'llama',
    trainable: true,
    quantisation: 'F16', // its header does not say it: that of most weights, the norms are F32
    contextLength: 1024,
    hasTemplate: true
  })
  expect(facts.parameters).toBeGreaterThan(1_000_000)
  expect(facts.needBytes).toBeGreaterThan(10 * 2 ** 20)
  const { metadata, tensors, chatTemplate } = await details()
  expect(metadata.find(({ key }) => key === 'tokenizer.ggml.tokens')?.value).toMatch(/^\d+ values: /)
  expect(tensors.some(({ name }) => name === 'token_embd.weight')).toBe(true)
  expect(chatTemplate).toContain('<|im_start|>')
})

test('a file that is no model says so', async () => {
  await expect(readHeader(put('bad.gguf', 'nothing of the kind'.repeat(10)))).rejects.toMatchObject({ code: 'model' })
  const { facts } = await readHeader(put('tiny.gguf', tinyGgufHeader(64)))
  expect(facts).toMatchObject({ needBytes: null, hasTemplate: false, quantisation: null })
})
