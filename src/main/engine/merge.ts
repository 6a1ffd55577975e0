/**
 * Merged models: base and adapter as one GGUF that every llama.cpp program loads by itself; or a model alone in another type.
 * Matrices become F16, BF16 or F32 (a quantised base is dequantised first, so that the adapter is not rounded away), vectors
 * stay as they are; all of an F32 file is F32.
 */
import { closeSync, fsyncSync, openSync, rmSync, statSync, writeSync } from 'node:fs'
import { AppError } from '../../shared/errors.ts'
import type { MergeType, Quantization } from '../../shared/export-types.ts'
import type { Adapter } from './adapter.ts'
import type { Backend } from './backend.ts'
import { Held, Owned } from './ffi/owned.ts'
import type { Model } from './model.ts'
import { copyMetadata, setValue } from './gguf-writer.ts'
import { TensorPool, TYPE } from './tensor.ts'
import { isMatrix, WeightRows } from './weight-rows.ts'

/** File types as `llama.h` counts them (`enum llama_ftype`). */
const FILE_TYPE: Readonly<Record<MergeType | Quantization, number>> = {
  F32: 0,
  F16: 1,
  BF16: 32,
  Q8_0: 7,
  Q6_K: 18,
  Q5_K_M: 17,
  Q5_K_S: 16,
  Q5_1: 9,
  Q5_0: 8,
  Q4_K_M: 15,
  Q4_K_S: 14,
  Q4_1: 3,
  Q4_0: 2,
  Q3_K_L: 13,
  Q3_K_M: 12,
  Q3_K_S: 11,
  Q2_K: 10
}

/** Said of other weights than the merged ones, or of how the base's file was laid out. */
const FOREIGN_KEYS = [
  'general.alignment',
  'quantize.imatrix.file',
  'quantize.imatrix.dataset',
  'quantize.imatrix.entries_count',
  'quantize.imatrix.chunks_count'
]

/** BF16 of a BF16 base, whose range F16 does not have; F16 of every other. */
export function usualMergeType(adapter: Adapter): MergeType {
  const types = adapter.pairs.map(({ target }) => adapter.model.weight(target).type)
  return types.every((type) => type === TYPE.BF16) ? 'BF16' : 'F16'
}

export type MergeOptions = {
  readonly type: MergeType
  /** The new `general.name`; left out, it stays. */
  readonly name?: string
  /** Nothing is said of the type, and nothing is taken away that another type may make untrue. */
  readonly keepsMetadata?: boolean
  /** Awaited between pieces of work: to let the event loop turn, to report, to stop by throwing. */
  readonly between: (done: number, of: number) => Promise<void>
}

/** Writes the merged model: see `writeInType`. */
export const writeMerged = (adapter: Adapter, path: string, options: MergeOptions): Promise<void> =>
  writeInType(adapter.model, adapter, path, options)

/**
 * Writes a model, with an adapter merged into it where one is given, a few rows in memory at a time. Throws AppError('disk') when the file cannot be written, AppError
 * ('model') when a weight does not fit into the type; nothing is left behind then.
 */
export async function writeInType(
  { backend, info }: Pick<Model, 'backend' | 'info'>,
  adapter: Adapter | null,
  path: string,
  options: MergeOptions
): Promise<void> {
  const wanted = TYPE[options.type]
  const all = [...info.tensors].map(([name, tensor]) => ({
    name,
    tensor,
    type: isMatrix(tensor) || options.type === 'F32' ? wanted : tensor.type
  }))
  const held = new Held()
  let file: number | undefined
  try {
    const source = held.own(new WeightRows(backend, info, adapter))
    const pool = held.own(new TensorPool(backend, all.length + 1))
    const gguf = held.own(
      new Owned('gguf', backend.native.ggml.gguf_init_empty()!, (it) => backend.native.ggml.gguf_free(it))
    )
    const { ggml } = backend.native
    copyMetadata(backend, info.path, gguf.handle)
    if (!options.keepsMetadata) {
      for (const key of FOREIGN_KEYS) ggml.gguf_remove_key(gguf.handle, key)
      setValue(backend, gguf.handle, 'general.file_type', { kind: 'u32', value: FILE_TYPE[options.type] })
    }
    if (options.name !== undefined)
      setValue(backend, gguf.handle, 'general.name', { kind: 'text', value: options.name })
    for (const { name, tensor, type } of all) {
      const { ptr } = pool.add(type, ...tensor.ne) // described only: the pool is never given memory
      ggml.set_name(ptr, name)
      ggml.gguf_add_tensor(gguf.handle, ptr)
    }
    if (!ggml.gguf_write_to_file(gguf.handle, path, true)) throw new Error('its header could not be written')
    const start = statSync(path).size
    file = openSync(path, 'r+')
    for (const [i, { name, type }] of all.entries()) {
      let at = start + ggml.gguf_get_tensor_offset(gguf.handle, i)
      for (const { bytes } of source.read(name, type)) {
        if (!isFinite16(bytes, type)) throw outOfRange(info.path, name)
        writeAt(file, bytes, at)
        at += bytes.length
        await options.between(i, all.length)
      }
      if (i === all.length - 1) pad(file, at, start)
    }
    fsyncSync(file)
  } catch (cause) {
    if (file !== undefined) closeSync(file)
    file = undefined
    rmSync(path, { force: true })
    if (cause instanceof AppError) throw cause
    throw notWritten(path, cause)
  } finally {
    if (file !== undefined) closeSync(file)
    held.dispose()
  }
}

const ALIGNMENT = 32

/** Readers expect the last tensor to be padded as the others are. */
function pad(file: number, end: number, start: number): void {
  writeAt(file, new Uint8Array((ALIGNMENT - ((end - start) % ALIGNMENT)) % ALIGNMENT), end)
}

function writeAt(file: number, bytes: Uint8Array, position: number): void {
  for (let at = 0; at < bytes.length;) at += writeSync(file, bytes, at, bytes.length - at, position + at)
}

/** F16 has no number beyond 65504: five exponent bits all ones stand for infinity and NaN. */
function isFinite16(bytes: Uint8Array, type: number): boolean {
  if (type !== TYPE.F16) return true
  return new Uint16Array(bytes.buffer, bytes.byteOffset, bytes.length / 2).every((bits) => (bits & 0x7c00) !== 0x7c00)
}

const outOfRange = (path: string, name: string): AppError =>
  new AppError('model', `${path}: the tensor ${name} has weights that F16 cannot hold`, 'Use --merge-type BF16.')

const notWritten = (path: string, cause?: unknown): AppError =>
  new AppError('disk', `${path} could not be written`, 'Check that the folder exists and that the disk has room.', {
    cause
  })

/**
 * Quantises a merged file by llama.cpp's own quantiser, which needs no importance matrix for these types. It runs on threads
 * of its own and cannot be stopped. Throws AppError('disk') when it fails; nothing is left behind then.
 */
export async function quantizeModel(backend: Backend, from: string, to: string, type: Quantization): Promise<void> {
  const params = backend.native.llama.model_quantize_default_params()
  params.nthread = backend.threads
  params.ftype = FILE_TYPE[type]
  const status = await backend.native.quantize(from, to, params)
  if (status === 0) {
    const file = openSync(to, 'r+')
    try {
      fsyncSync(file)
    } finally {
      closeSync(file)
    }
    return
  }
  rmSync(to, { force: true })
  throw new AppError(
    'disk',
    `${to} could not be written by llama.cpp's quantiser`,
    'Check that the disk has room; with REASONSMITH_NATIVE_LOG=1 it says more.'
  )
}
