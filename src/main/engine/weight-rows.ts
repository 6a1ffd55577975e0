/**
 * The tensors of a GGUF file, read from the file some rows at a time in whatever type is wanted: never a whole model in
 * memory. With an adapter, a matrix it adapts is read as W + scale·B·A, computed in F32: what y = W·h + scale·B·A·h uses.
 */
import { closeSync, openSync, readSync } from 'node:fs'
import { AppError } from '../../shared/errors.ts'
import type { Adapter, AdapterPair } from './adapter.ts'
import type { Backend } from './backend.ts'
import { Held } from './ffi/owned.ts'
import type { GgufInfo, GgufTensor } from './gguf.ts'
import { Graph, GraphAllocator } from './graph.ts'
import { readBytes, rowBytes, TensorPool, TYPE, write } from './tensor.ts'

/** Elements that are worked on at once: 32 MiB as F32. */
const ELEMENTS_AT_ONCE = 8 * 2 ** 20

/** Some consecutive rows of a tensor, as bytes of the type that was asked for. */
export type Rows = { readonly first: number; readonly count: number; readonly bytes: Uint8Array }

export class WeightRows {
  readonly info: GgufInfo
  readonly #backend: Backend
  readonly #file: number
  readonly #pairs: ReadonlyMap<string, AdapterPair>
  readonly #scale: number
  readonly #at: number

  /** Opens the file. `at` elements at once, for tests. */
  constructor(backend: Backend, info: GgufInfo, adapter: Adapter | null = null, at = ELEMENTS_AT_ONCE) {
    if ((info.number('split.count') ?? 1) > 1)
      throw new AppError(
        'model',
        `${info.path}: the model is split over several files`,
        'Join them with llama-gguf-split --merge.'
      )
    this.info = info
    this.#backend = backend
    this.#pairs = new Map(adapter?.pairs.map((pair) => [pair.target, pair]))
    this.#scale = adapter?.scale ?? 0
    this.#at = at
    this.#file = openSync(info.path, 'r')
  }

  /** The tensor's rows [ne[0]] in order, all higher dimensions counted as rows. Throws AppError('model') where it is missing. */
  *read(name: string, type: number): Generator<Rows> {
    const tensor = this.info.tensors.get(name)
    if (!tensor) throw new AppError('model', `${this.info.path}: the tensor ${name} is missing`)
    const [width] = tensor.ne
    const rows = rowsOf(tensor)
    const atOnce = Math.max(1, Math.min(rows, Math.floor(this.#at / width)))
    for (let first = 0; first < rows; first += atOnce) {
      const count = Math.min(atOnce, rows - first)
      yield { first, count, bytes: this.#convert(name, tensor, first, count, type) }
    }
  }

  #convert(name: string, tensor: GgufTensor, first: number, count: number, type: number): Uint8Array {
    const backend = this.#backend
    const stored = this.#stored(tensor, first, count)
    const pair = this.#pairs.get(name)
    if (!pair && tensor.type === type) return stored
    const held = new Held()
    try {
      const pool = held.own(new TensorPool(backend, 2))
      const source = pool.add(tensor.type, tensor.ne[0], count)
      pool.allocate()
      write(backend, source, stored)
      const graph = held.own(new Graph(backend, 32))
      let values = source.type === TYPE.F32 ? source : graph.cast(source, TYPE.F32)
      if (pair) {
        const b = graph.window(pair.b, [pair.b.ne[0], count, 1, 1], [0, first, 0, 0])
        values = graph.add(values, graph.scale(graph.mulMat(graph.transposed(pair.a), b), this.#scale))
      }
      const wanted = graph.output(type === TYPE.F32 ? values : graph.cast(values, type))
      held.own(new GraphAllocator(backend)).allocate(graph)
      graph.compute()
      return readBytes(backend, wanted)
    } finally {
      held.dispose()
    }
  }

  #stored(tensor: GgufTensor, first: number, count: number): Uint8Array {
    const bytes = rowBytes(this.#backend.native, tensor.type, tensor.ne[0])
    const out = new Uint8Array(bytes * count)
    for (let at = 0; at < out.length;) {
      const got = readSync(this.#file, out, at, out.length - at, tensor.offset + first * bytes + at)
      if (got === 0)
        throw new AppError('model', `${this.info.path}: the file ends too early`, 'It was changed meanwhile.')
      at += got
    }
    return out
  }

  dispose(): void {
    closeSync(this.#file)
  }
}

export const rowsOf = ({ ne }: GgufTensor): number => ne[1] * ne[2] * ne[3]

/** Whether a tensor is a matrix; norms, biases and rotary factors are not, and stay as they are. */
export const isMatrix = (tensor: GgufTensor): boolean => rowsOf(tensor) > 1

export type WeightDifference = {
  /** √(Σ(stored − exact)² / Σ exact²) over all matrices. */
  readonly relative: number
  /** The matrix with the largest, as a share of what its type allows. */
  readonly worst: { readonly name: string; readonly type: number; readonly relative: number; readonly bound: number }
}

/** Bits of a weight in each type with blocks. */
const BITS: Readonly<Record<number, number>> = {
  [TYPE.Q4_0]: 4,
  [TYPE.Q4_1]: 4,
  [TYPE.Q5_0]: 5,
  [TYPE.Q5_1]: 5,
  [TYPE.Q8_0]: 8,
  [TYPE.Q2_K]: 2,
  [TYPE.Q3_K]: 3,
  [TYPE.Q4_K]: 4,
  [TYPE.Q5_K]: 5,
  [TYPE.Q6_K]: 6
}
/** Half a unit in the last place of 1, and the same of the smallest number. */
const UNIT: Readonly<Record<number, readonly [relative: number, absolute: number]>> = {
  [TYPE.F32]: [2 ** -24, 0],
  [TYPE.F16]: [2 ** -11, 2 ** -25],
  [TYPE.BF16]: [2 ** -8, 0]
}

/**
 * The relative rms error that storing in a type may cost. Of a floating-point type it is the rounding unit (`rms` is that of
 * the tensor, for numbers so small that their rounding is absolute). In b bits with a scale per block, evenly rounded normal
 * numbers lose about 2^-b of their rms; four times that is allowed, which blocks of one large number do not reach either. A matrix in the wrong
 * place has an error of √2.
 */
function allowed(type: number, rms: number): number {
  const unit = UNIT[type]
  if (unit) return unit[0] + (rms > 0 ? unit[1] / rms : 0)
  const bits = BITS[type]
  return bits === undefined ? 0 : 4 * 2 ** -bits
}

/**
 * Reads both and compares every tensor. Throws AppError('export') where one is missing, has another shape, holds something
 * that is not finite, is not what its type makes of the exact numbers, or (vectors) differs at all.
 */
export async function compareWeights(
  exact: WeightRows,
  stored: WeightRows,
  between: () => Promise<void>
): Promise<WeightDifference> {
  const refuse = (why: string): AppError =>
    new AppError('export', `${stored.info.path}: ${why}`, 'Nothing was written. This is a bug; please report it.')
  const [total, all] = [{ difference: 0, squares: 0 }, [...exact.info.tensors]]
  if (stored.info.tensors.size !== all.length)
    throw refuse(`it has ${stored.info.tensors.size} tensors of ${all.length}`)
  let worst = { name: '', type: 0, relative: 0, bound: Infinity }
  for (const [name, tensor] of all) {
    const other = stored.info.tensors.get(name)
    if (!other || other.ne.some((n, i) => n !== tensor.ne[i]))
      throw refuse(`the tensor ${name} is missing or has another shape`)
    const sums = { difference: 0, squares: 0 }
    const theirs = stored.read(name, TYPE.F32)
    for (const rows of exact.read(name, TYPE.F32)) {
      addSquares(sums, floats(rows.bytes), floats((theirs.next().value as Rows).bytes))
      await between()
    }
    if (!Number.isFinite(sums.difference)) throw refuse(`the tensor ${name} holds numbers that are not finite`)
    if (!isMatrix(tensor)) {
      if (sums.difference > 0) throw refuse(`the tensor ${name} differs`)
      continue
    }
    const count = rowsOf(tensor) * tensor.ne[0]
    const relative = sums.difference === 0 ? 0 : Math.sqrt(sums.difference / sums.squares)
    const bound = allowed(other.type, Math.sqrt(sums.squares / count))
    if (relative > bound) {
      throw refuse(
        `the tensor ${name} differs by ${relative.toExponential(1)} of its size from base plus adapter, its type allows ${bound.toExponential(1)}`
      )
    }
    if (relative / bound > worst.relative / worst.bound) worst = { name, type: other.type, relative, bound }
    total.difference += sums.difference
    total.squares += sums.squares
  }
  return { relative: total.difference === 0 ? 0 : Math.sqrt(total.difference / total.squares), worst }
}

const floats = (bytes: Uint8Array): Float32Array => new Float32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4)

function addSquares(sums: { difference: number; squares: number }, a: Float32Array, b: Float32Array): void {
  let { difference, squares } = sums
  for (let i = 0; i < a.length; i++) {
    const apart = a[i]! - b[i]!
    difference += apart * apart
    squares += a[i]! * a[i]!
  }
  sums.difference = difference
  sums.squares = squares
}
