/** How fast matrix products are here, by the weights' type: the number that training speed follows. */
import type { Backend } from '../backend.ts'
import { Graph, GraphAllocator } from '../graph.ts'
import { TensorPool, TYPE } from '../tensor.ts'
import type { TypeName } from '../tensor.ts'

export const RATED_TYPES = ['F32', 'F16', 'BF16', 'Q8_0'] as const satisfies readonly TypeName[]

const [INPUT, OUTPUT, TOKENS] = [576, 1536, 256]

/** GFLOP/s of the best run within `seconds`. */
export function gemmRate(backend: Backend, type: TypeName, seconds: number): number {
  const pool = new TensorPool(backend, 4)
  const weight = pool.add(TYPE[type], INPUT, OUTPUT)
  const x = pool.add(TYPE.F32, INPUT, TOKENS)
  pool.allocate()
  const graph = new Graph(backend, 16)
  const allocator = new GraphAllocator(backend)
  graph.run(graph.mulMat(weight, x))
  allocator.allocate(graph)
  let best = Infinity
  const end = performance.now() + 1000 * seconds
  for (let runs = 0; runs < 2 || performance.now() < end; runs++) {
    const started = performance.now()
    graph.compute()
    best = Math.min(best, performance.now() - started)
  }
  graph.dispose()
  allocator.dispose()
  pool.dispose()
  return (2 * INPUT * OUTPUT * TOKENS) / best / 1e6
}
