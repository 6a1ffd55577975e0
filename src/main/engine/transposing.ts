/**
 * The transpose of a matrix as data, on the CPU. ggml's copy of a transposed view calls memcpy for every single element, 5 ns
 * each; its concat moves elements one by one in a plain loop, 1 ns each while they fit the cache (docs/benchmarks/LOG.md).
 * So the view is cut in two, and concat puts the halves together.
 */
import type { GraphLayout } from './graph-layout.ts'
import { isContiguous } from './tensor.ts'
import type { Tensor } from './tensor.ts'

/** Threads share concat's work by dimension 2: so many parts are made of the rows where their number allows it. */
const MOST_PARTS = 64

/** The largest divisor of n that is at most MOST_PARTS. */
function partsOf(n: number): number {
  let parts = Math.min(n, MOST_PARTS)
  while (n % parts !== 0) parts--
  return parts
}

/** a [n, m, k] → [m, n, k]; null where concat does not help: matrices with gaps, vectors, rows that cannot be parted. */
export function transposedInParts(g: GraphLayout, a: Tensor): Tensor | null {
  const [n, m, matrices, more] = a.ne
  const parts = partsOf(n)
  if (parts === 1 || m === 1 || more !== 1 || !isContiguous(g.backend.native, a)) return null
  const size = n / parts
  const parted = g.reshape(a, size, parts, m, matrices)
  const from = (part: number, count: number): Tensor =>
    g.permute(g.window(parted, [size, count, m, matrices], [0, part, 0, 0]), [1, 2, 0, 3]) // [m, size, count, matrices]
  return g.reshape(g.concat(from(0, 1), from(1, parts - 1), 2), m, n, matrices)
}
