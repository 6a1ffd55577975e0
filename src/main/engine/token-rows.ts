/**
 * Single rows of the tables that have one per token, the embedding and the head, of any type: read from the file, dequantised
 * and quantised by ggml's own functions. The tables themselves are never loaded.
 */
import { closeSync, openSync, readSync } from 'node:fs'
import type { Backend } from './backend.ts'
import type { GgufInfo } from './gguf.ts'
import { Graph, GraphAllocator } from './graph.ts'
import { readF32, rowBytes, TensorPool, TYPE, write } from './tensor.ts'

/** A table [width, rows] in a file. */
export type TokenTable = {
  readonly name: string
  readonly type: number
  readonly width: number
  readonly rows: number
  /** Byte offset of its first row in the file. */
  readonly offset: number
  readonly rowBytes: number
}

/** The embedding, and the head where it is a matrix of its own. */
export function tokenTables(backend: Backend, info: GgufInfo, head: string): TokenTable[] {
  return [...new Set(['token_embd.weight', head])].map((name) => {
    const { type, ne, offset } = info.tensors.get(name)!
    return { name, type, width: ne[0], rows: ne[1], offset, rowBytes: rowBytes(backend.native, type, ne[0]) }
  })
}

/** The rows of these tokens as they stand in the file, one after another. */
export function readRowBytes(path: string, table: TokenTable, ids: ArrayLike<number>): Uint8Array {
  const out = new Uint8Array(ids.length * table.rowBytes)
  const file = openSync(path, 'r')
  try {
    for (let i = 0; i < ids.length; i++)
      readSync(file, out, i * table.rowBytes, table.rowBytes, table.offset + ids[i]! * table.rowBytes)
  } finally {
    closeSync(file)
  }
  return out
}

/** Rows of `width` elements of a type, as F32, one after another. */
export function dequantised(backend: Backend, type: number, width: number, bytes: Uint8Array): Float32Array {
  const count = bytes.length / rowBytes(backend.native, type, width)
  const pool = new TensorPool(backend, 3)
  const table = pool.add(type, width, count)
  const rows = pool.add(TYPE.I32, count)
  const out = pool.add(TYPE.F32, width, count)
  pool.allocate()
  write(backend, table, bytes)
  write(backend, rows, Int32Array.from({ length: count }, (_, i) => i)) // prettier-ignore
  const graph = new Graph(backend, 4)
  const allocator = new GraphAllocator(backend)
  try {
    // get_rows dequantises any type on every backend
    graph.run(graph.place(graph.getRows(table, rows), out))
    allocator.allocate(graph)
    graph.compute()
    return readF32(backend, out)
  } finally {
    allocator.dispose()
    graph.dispose()
    pool.dispose()
  }
}

/** One row in the table's type. Types that weigh elements by importance get equal weights. */
export function quantised(backend: Backend, type: number, row: Float32Array): Uint8Array {
  const { ggml } = backend.native
  const bytes = new Uint8Array(rowBytes(backend.native, type, row.length))
  const importance = ggml.quantize_requires_imatrix(type) ? new Float32Array(row.length).fill(1) : null
  ggml.quantize_chunk(type, row, bytes, 0, 1, row.length, importance) // any type, floats included
  return bytes
}
