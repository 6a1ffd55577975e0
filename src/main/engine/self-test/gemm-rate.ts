/** How fast matrix products are here, by the weights' type: the number that training speed follows. */
import type { Backend } from '../backend.ts'
import { Graph, GraphAllocator } from '../graph.ts'
import { TensorPool, TYPE } from '../tensor.ts'
import type { TypeName } from '../tensor.ts'

export const RATED_TYPES = ['F32', 'F16', 'BF16', 'Q8_0'] as const satisfies readonly TypeName[]

/** A matrix product W [input, output] × x [input, tokens]. */
type Size = { readonly input: number; readonly output: number; readonly tokens: number }
const USUAL: Size = { input: 576, output: 1536, tokens: 256 }

/** Products from small to as large as a fast GPU needs to be busy. */
const SIDES = [128, 512, 2048, 4096] as const
/** A product that takes this long shows the device's rate; a larger one would only take longer. */
const LONG_MS = 3

/** GFLOP/s of F32 products, at the size that shows it: seconds on a slow device, milliseconds on a fast one. */
export function bestRate(backend: Backend): number {
  let rate = 0
  for (const side of SIDES) {
    rate = gemmRate(backend, 'F32', 0, { input: side, output: side, tokens: side })
    if ((2 * side ** 3) / rate / 1e6 > LONG_MS) break
  }
  return rate
}

/** GFLOP/s of the best run within `seconds`, of two at least. */
export function gemmRate(backend: Backend, type: TypeName, seconds: number, size: Size = USUAL): number {
  const { input, output, tokens } = size
  const pool = new TensorPool(backend, 4)
  const weight = pool.add(TYPE[type], input, output)
  const x = pool.add(TYPE.F32, input, tokens)
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
  return (2 * input * output * tokens) / best / 1e6
}
