/** A tiny model in every type a base may have. */
import { join } from 'node:path'
import type { Backend } from '../../src/main/engine/backend.ts'
import type { GgufValue } from '../../src/main/engine/gguf-writer.ts'
import { TYPE } from '../../src/main/engine/tensor.ts'
import type { TypeName } from '../../src/main/engine/tensor.ts'
import { FAMILIES } from './tiny-families.ts'
import type { FamilyName } from './tiny-families.ts'
import { writeFamily } from './tiny-model.ts'

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
  type: TypeName,
  family: FamilyName = 'llama',
  values: Readonly<Record<string, GgufValue>> = {}
): string {
  const path = join(folder, `${family}-${type}.gguf`.replaceAll(' ', '-'))
  const it = FAMILIES[family]
  writeFamily(backend, path, { ...it, values: (s) => ({ ...it.values?.(s), ...values }) }, { type: TYPE[type] })
  return path
}
