/**
 * A few tokens' rows of the embedding and of the head, trained beside an adapter: PEFT's trainable token indices. The
 * optimizer works on F32 copies of the rows; after each step they are written, in the table's own type, into the tensors
 * that `llama_decode` reads, so that a quantised table rounds them and trainer and sampler see the same. Adapter files
 * cannot carry rows: what was trained is handed over in a derived base.
 */
import { AppError } from '../../shared/errors.ts'
import type { BytePatch } from './derived-gguf.ts'
import type { Graph } from './graph.ts'
import type { Model } from './model.ts'
import { readF32, TensorPool, TYPE, write } from './tensor.ts'
import type { Tensor } from './tensor.ts'
import { dequantised, quantised, readRowBytes, tokenTables } from './token-rows.ts'
import type { TokenTable } from './token-rows.ts'

export type RowTable = TokenTable & {
  /** The model's own table, rows of which are overwritten. */
  readonly weight: Tensor
  /** What is trained, F32 [d, k], one column per token. */
  readonly value: Tensor
  /** F32 [1, d, k]: the row as it is now less the row as it was, for products with transposes that still hold the old one. */
  readonly change: Tensor
  /** The rows of the file, one after another. */
  readonly original: Uint8Array
}

export class TrainedRows {
  readonly ids: readonly number[]
  /** The embedding, then the head where it is a matrix of its own. */
  readonly tables: readonly RowTable[]
  readonly #model: Model
  readonly #pool: TensorPool

  /** Throws AppError('recipe') for tokens the base does not have, AppError('device') where llama.cpp's tensors cannot be written. */
  constructor(model: Model, ids: readonly number[]) {
    const { backend, vocabulary } = model
    const unknown = ids.find((id, i) => id >= vocabulary.size || ids.indexOf(id) !== i)
    if (unknown !== undefined)
      throw new AppError(
        'recipe',
        `trainable_token_indices: ${unknown} is there twice or is no token of this base (${vocabulary.size} tokens)`
      )
    if (!model.sharesWeights)
      throw new AppError(
        'device',
        'the rows of tokens can be trained only on Linux and macOS: elsewhere llama.cpp does not show its tensors',
        'Leave trainable_token_indices out.'
      )
    if (backend.isCpu && !model.writable) throw new Error('rows of a base that is only mapped cannot be trained')
    this.#model = model
    this.ids = ids
    this.#pool = new TensorPool(backend, 8)
    this.tables = tokenTables(backend, model.info, model.config.head).map((table) => ({
      ...table,
      weight: model.weight(table.name),
      value: this.#pool.add(TYPE.F32, table.width, ids.length),
      change: this.#pool.add(TYPE.F32, 1, table.width, ids.length),
      original: readRowBytes(model.info.path, table, ids)
    }))
    this.#pool.allocate()
    for (const { type, width, value, original } of this.tables)
      write(backend, value, dequantised(backend, type, width, original))
  }

  /** The table that is the head, tied or not. */
  get head(): RowTable {
    return this.tables.at(-1)!
  }

  /** The rows in their table's type, one after another. */
  #bytes({ type, width, value }: RowTable): Uint8Array {
    const { backend } = this.#model
    const values = readF32(backend, value)
    return Buffer.concat(this.ids.map((_, i) => quantised(backend, type, values.subarray(i * width, (i + 1) * width))))
  }

  #show(table: RowTable, bytes: Uint8Array): void {
    const { ggml } = this.#model.backend.native
    this.ids.forEach((id, i) => {
      const row = bytes.subarray(i * table.rowBytes, (i + 1) * table.rowBytes)
      ggml.backend_tensor_set(table.weight.ptr, row, id * table.rowBytes, table.rowBytes)
    })
  }

  /** Makes model and sampler use the present values. */
  publish(): void {
    const { backend } = this.#model
    for (const table of this.tables) {
      const bytes = this.#bytes(table)
      this.#show(table, bytes)
      const [now, before] = [bytes, table.original].map((rows) => dequantised(backend, table.type, table.width, rows))
      write(
        backend,
        table.change,
        now!.map((value, i) => value - before![i]!)
      )
    }
  }

  /** Runs `work` with the rows of the base: for the reference policy. */
  asInBase<T>(work: () => T): T {
    for (const table of this.tables) this.#show(table, table.original)
    try {
      return work()
    } finally {
      for (const table of this.tables) this.#show(table, this.#bytes(table))
    }
  }

  /** Adds to `gradient` [d, k] the columns of dx [d, T] at which these tokens stand. */
  addEmbeddingGradient(tokens: Int32Array, dx: Tensor, gradient: Tensor): void {
    const { backend } = this.#model
    const width = dx.ne[0]
    const sums = readF32(backend, gradient)
    const column = new Float32Array(width)
    tokens.forEach((token, t) => {
      const k = this.ids.indexOf(token)
      if (k < 0) return
      backend.native.ggml.backend_tensor_get(dx.ptr, column, t * width * 4, width * 4)
      for (let i = 0; i < width; i++) sums[k * width + i]! += column[i]!
    })
    write(backend, gradient, sums)
  }

  /** All values, table by table: what checkpoints keep. */
  dump(): Uint8Array {
    return Buffer.concat(this.tables.map(({ value }) => new Uint8Array(readF32(this.#model.backend, value).buffer)))
  }

  /** Takes what `dump` gave. Throws AppError('model') when it is of another size. */
  restore(bytes: Uint8Array): void {
    const sizes = this.tables.map(({ width }) => width * this.ids.length * 4)
    if (sizes.reduce((sum, size) => sum + size, 0) !== bytes.length)
      throw new AppError('model', 'the trained rows kept are not those of this base and recipe')
    let at = 0
    this.tables.forEach(({ value }, i) => {
      write(this.#model.backend, value, bytes.slice(at, at + sizes[i]!))
      at += sizes[i]!
    })
    this.publish()
  }

  /** What a derived base has in place of the base's rows. */
  patches(): BytePatch[] {
    return this.tables.flatMap((table) => {
      const bytes = this.#bytes(table)
      return this.ids.map((id, i) => ({
        offset: table.offset + id * table.rowBytes,
        bytes: bytes.slice(i * table.rowBytes, (i + 1) * table.rowBytes)
      }))
    })
  }

  dispose(): void {
    this.#pool.dispose()
  }
}

/** What the head's backward adds for trained rows, in its own graph. */
export type HeadRows = {
  readonly table: RowTable
  /** F32 [d, k]. */
  readonly gradient: Tensor
}

/**
 * For each trained token v with dL/dz_v = dz [1, n]: adds Σ dz·h to its gradient and returns `dh` [d, n] with dz times what
 * the row has changed by since the head was transposed.
 */
export function rowsBack(
  g: Graph,
  { table, gradient }: HeadRows,
  h: Tensor,
  dh: Tensor,
  dzOf: (index: number) => { readonly soft: Tensor; readonly hot: Tensor }
): Tensor {
  const [width, n] = h.ne
  let sum = dh
  for (let i = 0; i < table.change.ne[2]; i++) {
    const { soft, hot } = dzOf(i)
    const change = g.reshape(g.window(table.change, [1, width, 1, 1], [0, 0, i, 0]), 1, width)
    sum = g.add(sum, g.mulMat(change, soft)) // the hot part looks its row up, so it is new already
    const dRow = g.mulMat(g.transposed(h), g.reshape(g.add(soft, hot), n, 1)) // [d, 1]
    g.run(g.addInto(g.window(gradient, [width, 1, 1, 1], [0, i, 0, 0]), dRow))
  }
  return sum
}
