/** What gradient tests are built on: tensors with random values, graphs over them, numbers out of outputs. */
import { seeded } from '../../src/shared/random.ts'
import type { Backend } from '../../src/main/engine/backend.ts'
import { Graph, GraphAllocator } from '../../src/main/engine/graph.ts'
import { elements, readF32, TensorPool, TYPE, write } from '../../src/main/engine/tensor.ts'
import type { Tensor } from '../../src/main/engine/tensor.ts'
import type { Differentiated } from './differences.ts'
import type { Owner } from './owner.ts'

/** Tensors of one test: random values, zero gradients, and weights that make a number of an output. */
export class Rig {
  readonly backend: Backend
  readonly pool: TensorPool
  readonly #own: Owner
  readonly #fills: (() => void)[] = []

  constructor(own: Owner) {
    this.#own = own
    this.backend = own.backend()
    this.pool = own(new TensorPool(this.backend, 256))
  }

  random(name: string, spread: number, ...ne: readonly number[]): Tensor {
    const tensor = this.zeros(...ne)
    const random = seeded('rig', name)
    this.#fills.push(() =>
      write(
        this.backend,
        tensor,
        Float32Array.from({ length: elements(tensor) }, () => spread * random.normal())
      )
    )
    return tensor
  }

  /** Values between 0.5 and 2. */
  positive(name: string, ...ne: readonly number[]): Tensor {
    const tensor = this.zeros(...ne)
    const random = seeded('rig', name)
    this.#fills.push(() =>
      write(
        this.backend,
        tensor,
        Float32Array.from({ length: elements(tensor) }, () => 0.5 + 1.5 * random.next())
      )
    )
    return tensor
  }

  zeros(...ne: readonly number[]): Tensor {
    return this.pool.add(TYPE.F32, ...ne)
  }

  ready(): void {
    this.pool.allocate()
    for (const fill of this.#fills) fill()
  }

  /** A graph of its own memory; `describe` returns the node to read. */
  graph(describe: (g: Graph) => Tensor): { compute(): void; read(): Float32Array } {
    const g = this.#own(new Graph(this.backend))
    const node = g.output(describe(g))
    this.#own(new GraphAllocator(this.backend)).allocate(g)
    return { compute: () => g.compute(), read: () => (g.compute(), readF32(this.backend, node)) }
  }

  /** The same for a graph that writes where it should by itself. */
  running(describe: (g: Graph) => void, capacity?: number): { compute(): void } {
    const g = this.#own(new Graph(this.backend, capacity))
    describe(g)
    this.#own(new GraphAllocator(this.backend)).allocate(g)
    return g
  }

  /** Σ weightᵢ·outputᵢ in double precision, with the weights as dL/doutput. */
  weigh(output: { read(): Float32Array }, weights: Tensor): () => number {
    const w = readF32(this.backend, weights)
    return () => output.read().reduce((sum, y, i) => sum + y * w[i]!, 0)
  }

  checked(name: string, value: Tensor, gradient: Tensor): Differentiated {
    return { name, value, gradient: readF32(this.backend, gradient) }
  }

  /** Wᵀ in a tensor of its own, made again from W before every backward. */
  transposed(g: Graph, weight: Tensor, into: Tensor): Tensor {
    g.run(g.cpy(g.permute(weight, [1, 0, 2, 3]), into))
    return into
  }
}
