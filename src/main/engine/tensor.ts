/**
 * Tensors as the engine sees them: an address, a shape and strides, all checked here, because ggml answers a wrong shape by
 * aborting the process. Shapes are written as in ggml: the contiguous dimension first, so a matrix of T columns of length d
 * is [d, T].
 */
import type { Backend } from './backend.ts'
import { noMemory } from './no-memory.ts'
import { Owned } from './ffi/owned.ts'
import type { Native } from './ffi/libraries.ts'
import type { Pointer } from './ffi/structs.ts'
import { readWhole } from '../files/whole-file.ts'

export const TYPE = {
  F32: 0,
  F16: 1,
  Q4_0: 2,
  Q4_1: 3,
  Q5_0: 6,
  Q5_1: 7,
  Q8_0: 8,
  Q2_K: 10,
  Q3_K: 11,
  Q4_K: 12,
  Q5_K: 13,
  Q6_K: 14,
  IQ2_XXS: 16,
  IQ2_XS: 17,
  IQ3_XXS: 18,
  IQ1_S: 19,
  IQ4_NL: 20,
  IQ3_S: 21,
  IQ2_S: 22,
  IQ4_XS: 23,
  I32: 26,
  I64: 27,
  IQ1_M: 29,
  BF16: 30
} as const
export type TypeName = keyof typeof TYPE

/** The types that a base's matrices may have. */
export const WEIGHT_TYPES = (Object.keys(TYPE) as TypeName[]).filter((name) => name !== 'I32' && name !== 'I64')

export type Shape = readonly [number, number, number, number]

export type Tensor = {
  readonly ptr: Pointer
  readonly type: number
  /** Elements per dimension. */
  readonly ne: Shape
  /** Bytes from one element to the next, per dimension. */
  readonly nb: Shape
}

export const shape = (...ne: readonly number[]): Shape => [ne[0] ?? 1, ne[1] ?? 1, ne[2] ?? 1, ne[3] ?? 1]
export const elements = (t: Tensor): number => t.ne[0] * t.ne[1] * t.ne[2] * t.ne[3]
export const sameShape = (a: Tensor, b: Tensor): boolean => a.ne.every((n, i) => n === b.ne[i])
export const shown = (t: Tensor): string => `[${t.ne.join(', ')}]`

/** Bytes of a row of `n` elements of a type, block types included. */
export function rowBytes(native: Native, type: number, n: number): number {
  return (native.ggml.type_size(type) * n) / native.ggml.blck_size(type)
}

export function contiguousStrides(native: Native, type: number, ne: Shape): Shape {
  const nb1 = rowBytes(native, type, ne[0])
  return [native.ggml.type_size(type), nb1, nb1 * ne[1], nb1 * ne[1] * ne[2]]
}

export function isContiguous(native: Native, t: Tensor): boolean {
  const expected = contiguousStrides(native, t.type, t.ne)
  return t.nb.every((stride, i) => t.ne[i] === 1 || stride === expected[i])
}

/**
 * A set of tensors with memory of their own on a device: weights made by us, gradients, optimizer state, boundaries, inputs.
 * Usage: `const pool = new TensorPool(backend, 'gradients')`, `pool.add(...)` for each, `pool.allocate()` once.
 */
export class TensorPool {
  readonly backend: Backend
  readonly #bufferType: Pointer
  readonly #context: Owned<Pointer>
  #buffer: Owned<Pointer> | null = null
  readonly #tensors: Tensor[] = []

  /** In the device's memory, or in host memory that it copies to and from. */
  constructor(backend: Backend, capacity = 4096, where: 'device' | 'host' = 'device') {
    const { ggml } = backend.native
    this.backend = backend
    this.#bufferType = where === 'device' ? backend.bufferType : backend.hostBufferType
    const bytes = ggml.tensor_overhead() * capacity
    const context = ggml.init({ mem_size: bytes, mem_buffer: null, no_alloc: true })
    this.#context = new Owned('tensor context', context!, (it) => ggml.free(it))
  }

  add(type: number, ...ne: readonly number[]): Tensor {
    if (this.#buffer) throw new Error('a tensor was added to a pool that is allocated already')
    const { native } = this.backend
    const s = shape(...ne)
    const ptr = native.ggml.new_tensor_4d(this.#context.handle, type, ...s)!
    const tensor = { ptr, type, ne: s, nb: contiguousStrides(native, type, s) }
    this.#tensors.push(tensor)
    return tensor
  }

  get bytes(): number {
    return this.#buffer ? this.backend.native.ggml.backend_buffer_get_size(this.#buffer.handle) : 0
  }

  /** The buffer's handle, for placing graph nodes into a tensor of this pool. */
  get buffer(): Pointer {
    if (!this.#buffer) throw new Error('the pool is not allocated')
    return this.#buffer.handle
  }

  /** Reserves the memory, zero-filled. Throws AppError('memory') when the device has not enough; the pool is then disposed of. */
  allocate(): this {
    const { ggml } = this.backend.native
    if (this.#tensors.length === 0) return this
    const buffer = ggml.backend_alloc_ctx_tensors_from_buft(this.#context.handle, this.#bufferType)
    if (buffer === null) {
      const bytes = this.#tensors.reduce((sum, { ptr }) => sum + ggml.nbytes(ptr), 0)
      this.dispose()
      const where = this.#bufferType === this.backend.bufferType ? this.backend : { name: 'the host', isCpu: true }
      throw noMemory(where, `tensors of ${(bytes / 2 ** 20).toFixed(1)} MiB`)
    }
    this.#buffer = new Owned('buffer', buffer, (it) => ggml.backend_buffer_free(it))
    ggml.backend_buffer_clear(buffer, 0)
    return this
  }

  clear(): void {
    if (this.#buffer) this.backend.native.ggml.backend_buffer_clear(this.#buffer.handle, 0)
  }

  dispose(): void {
    this.#buffer?.dispose()
    this.#context.dispose()
  }
}

type Data = Float32Array | Int32Array | BigInt64Array | Uint16Array | Uint8Array

/** Copies into a tensor, from element 0. */
export function write(backend: Backend, t: Tensor, data: Data): void {
  backend.native.ggml.backend_tensor_set(t.ptr, data, 0, data.byteLength)
}

/** Copies a tensor into another of the same type and shape, wherever either lies. */
export function copyTensor(backend: Backend, from: Tensor, into: Tensor): void {
  backend.native.ggml.backend_tensor_copy(from.ptr, into.ptr)
}

/** Copies an F32 tensor out, whole. */
export function readF32(backend: Backend, t: Tensor, count = elements(t)): Float32Array {
  const out = new Float32Array(count)
  backend.native.ggml.backend_tensor_get(t.ptr, out, 0, out.byteLength)
  return out
}

/** Copies an I32 tensor out, whole. */
export function readI32(backend: Backend, t: Tensor, count = elements(t)): Int32Array {
  const out = new Int32Array(count)
  backend.native.ggml.backend_tensor_get(t.ptr, out, 0, out.byteLength)
  return out
}

/** Copies a tensor's bytes out, whole, whatever its type. */
export function readBytes(backend: Backend, t: Tensor): Uint8Array {
  const out = new Uint8Array(backend.native.ggml.nbytes(t.ptr))
  backend.native.ggml.backend_tensor_get(t.ptr, out, 0, out.byteLength)
  return out
}

/** A tensor's bytes from first to last, at most `size` at a time. */
export function* readPieces(backend: Backend, t: Tensor, size: number): Generator<Uint8Array> {
  const { ggml } = backend.native
  const bytes = ggml.nbytes(t.ptr)
  for (let at = 0; at < bytes; at += size) {
    const piece = new Uint8Array(Math.min(size, bytes - at))
    ggml.backend_tensor_get(t.ptr, piece, at, piece.length)
    yield piece
  }
}

/** Fills a tensor from an open file, at most `size` bytes at a time. Throws AppError('model') when the file ends before that. */
export function writeFrom(backend: Backend, t: Tensor, file: number, offset: number, path: string, size: number): void {
  const { ggml } = backend.native
  const bytes = ggml.nbytes(t.ptr)
  for (let at = 0; at < bytes; at += size) {
    const piece = new Uint8Array(Math.min(size, bytes - at))
    readWhole(file, piece, offset + at, path)
    ggml.backend_tensor_set(t.ptr, piece, at, piece.length)
  }
}
