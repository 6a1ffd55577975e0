/** What a GGUF file says of itself, read before anything native is loaded, so that a bad file is refused in words. */
import { existsSync, statSync } from 'node:fs'
import { readGgufFileInfo } from 'node-llama-cpp'
import { AppError } from '../../shared/errors.ts'
import type { Shape } from './tensor.ts'
import { shape } from './tensor.ts'

export type GgufTensor = {
  readonly type: number
  readonly ne: Shape
  /** Byte offset in the file. */ readonly offset: number
}

export type GgufInfo = {
  readonly path: string
  readonly bytes: number
  readonly tensors: ReadonlyMap<string, GgufTensor>
  /** A metadata value by its dotted key; undefined when it is absent or of another kind. */
  number(key: string): number | undefined
  text(key: string): string | undefined
  list(key: string): readonly unknown[] | undefined
  /** Whether the key is there, whatever its kind. */
  has(key: string): boolean
}

/** Bytes per block and elements per block of the types that appear in model files (`ggml.c`, type traits). */
const BLOCK: Readonly<Record<number, readonly [bytes: number, elements: number]>> = {
  0: [4, 1],
  1: [2, 1],
  2: [18, 32],
  3: [20, 32],
  6: [22, 32],
  7: [24, 32],
  8: [34, 32], // prettier-ignore
  10: [84, 256],
  11: [110, 256],
  12: [144, 256],
  13: [176, 256],
  14: [210, 256],
  16: [66, 256],
  17: [74, 256],
  18: [98, 256],
  19: [50, 256],
  20: [18, 32],
  21: [110, 256],
  22: [82, 256],
  23: [136, 256],
  29: [56, 256],
  30: [2, 1] // prettier-ignore
}

/** Bytes of a tensor's data; 0 for a type that is not known here. */
export function dataBytes({ type, ne }: GgufTensor): number {
  const block = BLOCK[type]
  return block ? (ne[0] * ne[1] * ne[2] * ne[3] * block[0]) / block[1] : 0
}

/** Quantised values stand in blocks, and a block never spans two rows. */
export const hasWholeBlocks = ({ type, ne }: GgufTensor): boolean => ne[0] % (BLOCK[type]?.[1] ?? 1) === 0

/** Reads header, metadata and tensor table. Throws AppError('model') for a missing, foreign or truncated file. */
export async function readGguf(path: string): Promise<GgufInfo> {
  if (!existsSync(path)) throw new AppError('model', `${path}: there is no such file`, 'Check the path.')
  const bytes = statSync(path).size
  const parsed = await readGgufFileInfo(path, { sourceType: 'filesystem', logWarnings: false }).catch(
    (cause: unknown) => {
      throw new AppError(
        'model',
        `${path}: not a GGUF file, or its header is cut off`,
        'Download or export it again.',
        { cause }
      )
    }
  )
  const tensors = new Map<string, GgufTensor>()
  for (const tensor of parsed.fullTensorInfo ?? []) {
    const ne = shape(...tensor.dimensions.map(Number))
    const offset = Number(tensor.fileOffset)
    const entry = { type: tensor.ggmlType, ne, offset }
    tensors.set(tensor.name, entry)
    const end = offset + dataBytes(entry)
    if (end > bytes) {
      throw new AppError(
        'model',
        `${path}: the file is truncated: the tensor ${tensor.name} ends at byte ${end} of ${bytes}`,
        'Download or export it again.'
      )
    }
  }
  const find = (key: string): unknown => {
    let value: unknown = parsed.metadata
    for (const part of key.split('.')) value = (value as Record<string, unknown> | undefined)?.[part]
    return value
  }
  return {
    path,
    bytes,
    tensors,
    number: (key) => {
      const value = find(key)
      return typeof value === 'number' || typeof value === 'bigint' ? Number(value) : undefined
    },
    text: (key) => {
      const value = find(key)
      return typeof value === 'string' ? value : undefined
    },
    list: (key) => {
      const value = find(key)
      return Array.isArray(value) ? value : undefined
    },
    has: (key) => find(key) !== undefined
  }
}
