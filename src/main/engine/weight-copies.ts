/**
 * Copies of matrices in the orientation and type that a product wants: kept beside the weights, or made layer by layer, in
 * slots that all layers share, each time a layer's backward comes.
 */
import type { Backend } from './backend.ts'
import { Held } from './ffi/owned.ts'
import { Graph, GraphAllocator } from './graph.ts'
import { TensorPool, TYPE, write } from './tensor.ts'
import type { Tensor } from './tensor.ts'

/**
 * Where the Wᵀ of layers are: `cached` all of them beside the weights, `per layer` those of the layer whose backward runs,
 * made again for each row. The head's is always cached: it is used once for each of its chunks.
 */
export type Transposes = 'cached' | 'per layer'

export type WeightCopy = {
  readonly weight: Tensor
  readonly into: Tensor
  readonly transposed: boolean
  /** Where the weight itself cannot be read: its bytes. */
  readonly stored?: (() => Uint8Array) | undefined
}

/** Nodes of one copy, with room. */
const NODES_PER_COPY = 12

export class WeightCopies {
  readonly #backend: Backend
  readonly #pool: TensorPool
  readonly #kept: WeightCopy[] = []
  readonly #byLayer: WeightCopy[][]
  readonly #slots = new Map<string, Tensor>()
  /** 0, 1, 2, …: every row of the tallest matrix that is transposed layer by layer. */
  #rows: Tensor | null = null

  constructor(backend: Backend, layers: number) {
    this.#backend = backend
    this.#pool = new TensorPool(backend, layers * 48 + 64)
    this.#byLayer = Array.from({ length: layers }, () => [])
  }

  /** A copy that stays; of a weight that lies packed by what is `stored` of it. */
  keep(weight: Tensor, type: number, transposed: boolean, stored?: () => Uint8Array): Tensor {
    const [input, output] = weight.ne
    const into = transposed ? this.#pool.add(type, output, input) : this.#pool.add(type, ...weight.ne)
    this.#kept.push({ weight, into, transposed, stored })
    return into
  }

  /** The slot for this layer's Wᵀ [out, in], which is another layer's at other times. */
  share(layer: number, role: string, weight: Tensor, type: number): Tensor {
    const [input, output] = weight.ne
    const key = `${role} ${type} ${input} ${output}`
    const into = this.#slots.get(key) ?? this.#pool.add(type, output, input)
    this.#slots.set(key, into)
    this.#byLayer[layer]!.push({ weight, into, transposed: true })
    return into
  }

  /** Takes the memory and makes what is kept. Throws AppError('memory'). */
  allocate(): void {
    const tallest = Math.max(0, ...this.#byLayer.flat().map(({ weight }) => weight.ne[1]))
    if (tallest > 0) this.#rows = this.#pool.add(TYPE.I32, tallest)
    this.#pool.allocate()
    if (this.#rows) write(this.#backend, this.#rows, countTo(tallest))
    this.refresh()
  }

  /** Makes what is kept again: once for frozen weights, after each step when they are trained. */
  refresh(): void {
    if (this.#kept.length === 0) return
    const held = new Held()
    try {
      const backend = this.#backend
      const allocator = held.own(new GraphAllocator(backend))
      const pool = held.own(new TensorPool(backend, 1))
      const tallest = Math.max(...this.#kept.map(({ weight }) => weight.ne[1]))
      const rows = pool.add(TYPE.I32, tallest)
      pool.allocate()
      write(backend, rows, countTo(tallest))
      for (const copy of this.#kept) {
        const read = copy.stored && readable(backend, copy.weight, copy.stored())
        const g = new Graph(backend, NODES_PER_COPY)
        try {
          describeCopy(g, read ? { ...copy, weight: read.weight } : copy, rows)
          allocator.allocate(g)
          g.compute()
        } finally {
          g.dispose()
          read?.pool.dispose()
        }
      }
    } finally {
      held.dispose()
    }
  }

  /** The graph that fills the shared slots with a layer's Wᵀ; null where they are cached. */
  graphOf(layer: number): Graph | null {
    const copies = this.#byLayer[layer]!
    return copies.length === 0 ? null : transposingGraph(this.#backend, copies, this.#rows!)
  }

  get bytes(): number {
    return this.#pool.bytes
  }

  dispose(): void {
    this.#pool.dispose()
  }
}

/** A tensor like `weight` that holds these bytes, in a pool of its own. */
function readable(backend: Backend, { type, ne }: Tensor, bytes: Uint8Array): { weight: Tensor; pool: TensorPool } {
  const pool = new TensorPool(backend, 1)
  const weight = pool.add(type, ...ne)
  pool.allocate()
  write(backend, weight, bytes)
  return { weight, pool }
}

/** One graph for all of them, so that what one passes through is free for the next. */
export function transposingGraph(backend: Backend, copies: readonly WeightCopy[], rows: Tensor): Graph {
  const g = new Graph(backend, copies.length * NODES_PER_COPY)
  for (const copy of copies) describeCopy(g, copy, rows)
  return g
}

/** Adds what fills `into`; `rows` I32 holds 0, 1, 2, … for at least as many rows as W has. */
function describeCopy(g: Graph, { weight, into, transposed }: WeightCopy, rows: Tensor): void {
  // get_rows dequantises any type to F32 on every backend
  const plain = weight.type === TYPE.F32 ? weight : g.getRows(weight, g.window(rows, [weight.ne[1], 1, 1, 1]))
  // quantising needs contiguous rows, so a transpose is made in F32 first; other types take the strided copy
  const oriented = !transposed ? plain : into.type === TYPE.Q8_0 ? g.transposed(plain) : g.permute(plain, [1, 0, 2, 3])
  g.run(g.cpy(oriented, into))
}

/** F32 elements that one copy passes through, per element of W: see `describeCopy`. */
export const passedThrough = (weight: number, into: number, transposed: boolean): number =>
  Number(weight !== TYPE.F32) + Number(transposed && into === TYPE.Q8_0)

const countTo = (n: number): Int32Array => Int32Array.from({ length: n }, (_, i) => i)
