/** The tiny model in every type a base may have, made by llama.cpp's own quantiser. */
import { join } from 'node:path'
import type { Backend } from '../../src/main/engine/backend.ts'
import type { GgufValue } from '../../src/main/engine/gguf-writer.ts'
import { TINY, writeTinyModel } from './tiny-model.ts'

/** File types as `llama_model_quantize` counts them (`llama.h`, LLAMA_FTYPE). */
export const FILE_TYPE = {
  F32: 0,
  F16: 1,
  BF16: 32,
  Q8_0: 7,
  Q4_0: 2,
  Q4_1: 3,
  Q5_0: 8,
  Q5_1: 9,
  Q2_K: 10,
  Q3_K: 11,
  Q4_K: 14,
  Q5_K: 16,
  Q6_K: 18
} as const
export type FileType = keyof typeof FILE_TYPE

/** Writes the model; every matrix, the embedding and the head included, is of that one type. Returns its path. */
export function writeQuantised(
  backend: Backend,
  folder: string,
  type: FileType,
  values: Readonly<Record<string, GgufValue>> = {}
): string {
  const plain = join(folder, 'F32.gguf')
  writeTinyModel(backend, plain, TINY, 1, values)
  if (type === 'F32') return plain
  const { llama } = backend.native
  const path = join(folder, `${type}.gguf`)
  const params = llama.model_quantize_default_params()
  params.nthread = 1
  params.ftype = FILE_TYPE[type]
  params.pure = true
  const status = llama.model_quantize(plain, path, params)
  if (status !== 0) throw new Error(`llama_model_quantize failed with ${status}`)
  return path
}
