/** Adapter files of other programs: what llama.cpp makes of them is what the trainer makes of them, or they are refused. */
import { join } from 'node:path'
import { beforeEach, expect, test } from 'vitest'
import type { Backend } from '../../src/main/engine/backend.ts'
import { loadAdapter } from '../../src/main/engine/adapter.ts'
import { writeGguf } from '../../src/main/engine/gguf-writer.ts'
import { loadModel } from '../../src/main/engine/model.ts'
import type { Model } from '../../src/main/engine/model.ts'
import { TensorPool, TYPE } from '../../src/main/engine/tensor.ts'
import { temporaryFolder } from './folder.ts'
import { owner } from './owner.ts'
import { TINY, writeTinyModel } from './tiny-model.ts'

const own = owner()
const folder = temporaryFolder()
let backend: Backend
let model: Model

beforeEach(async () => {
  backend = own.backend()
  const base = join(folder, 'base.gguf')
  writeTinyModel(backend, base)
  model = own(await loadModel(base, backend))
})

/** An adapter on the queries, with the rank given for each layer. */
function written(name: string, ranks: readonly number[], alpha?: number, architecture = 'llama'): string {
  const pool = own(new TensorPool(backend, 8))
  const tensors = ranks.flatMap((r, layer) => [
    { name: `blk.${layer}.attn_q.weight.lora_a`, tensor: pool.add(TYPE.F32, TINY.width, r) },
    { name: `blk.${layer}.attn_q.weight.lora_b`, tensor: pool.add(TYPE.F32, r, TINY.width) }
  ])
  pool.allocate()
  const path = join(folder, name)
  const values = {
    'general.type': { kind: 'text', value: 'adapter' },
    'general.architecture': { kind: 'text', value: architecture },
    'adapter.type': { kind: 'text', value: 'lora' },
    ...(alpha !== undefined && { 'adapter.lora.alpha': { kind: 'f32', value: alpha } as const })
  } as const
  writeGguf(backend, path, { values, tensors })
  return path
}

test('alpha is divided by the rank', async () => {
  expect(own(await loadAdapter(model, written('usual.gguf', [4, 4], 8))).scale).toBe(2)
})

test('an adapter with alpha 0 is applied with scale 1, as llama.cpp does', async () => {
  expect(own(await loadAdapter(model, written('bare.gguf', [4, 4], 0))).scale).toBe(1)
})

test('ranks that differ from pair to pair are refused, since one scale stands for all', async () => {
  await expect(loadAdapter(model, written('mixed.gguf', [4, 8], 8))).rejects.toMatchObject({ code: 'model' })
})

test('what llama.cpp would refuse in its log only is refused in words', async () => {
  const code = 'model'
  await expect(loadAdapter(model, written('phi.gguf', [4, 4], 8, 'phi3'))).rejects.toMatchObject({
    code,
    message: expect.stringMatching(/phi\.gguf: it is for the architecture phi3, .*base\.gguf is llama/) as string
  })
  await expect(loadAdapter(model, written('deeper.gguf', [4, 4, 4], 8))).rejects.toMatchObject({
    code,
    message: expect.stringMatching(/its tensor blk\.2\.attn_q\.weight\.lora_a does not fit/) as string
  })
})
