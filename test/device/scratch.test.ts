/**
 * Scratch larger than the device's largest buffer lies in several. Graphs that fill those differently then cannot share
 * them: ggml's allocator would take memory for the one and free what the other still points to.
 */
import { expect, test } from 'vitest'
import { Graph, GraphAllocator } from '../../src/main/engine/graph.ts'
import { readF32, TensorPool, TYPE } from '../../src/main/engine/tensor.ts'
import type { Tensor } from '../../src/main/engine/tensor.ts'
import { owner } from '../engine/owner.ts'

const own = owner()
/** Elements of 1 MiB in F32. The project `vulkan` has buffers of at most 16 MiB. */
const MIB = 2 ** 18

test('graphs share scratch that lies in several buffers only where they fill them alike', () => {
  const backend = own.backend()
  const pool = own(new TensorPool(backend, 8))
  const out = [0, 1].map(() => [pool.add(TYPE.F32, 4), pool.add(TYPE.F32, 4)] as const)
  pool.allocate()
  /** Two tensors at once: the second finds no room behind the first in 16 MiB. */
  const graphOf = (first: number, second: number, [a, b]: readonly [Tensor, Tensor]): Graph => {
    const g = own(new Graph(backend, 32))
    const [x, y] = [g.fill(g.blank(first * MIB), first), g.fill(g.blank(second * MIB), second)]
    g.run(x)
    g.run(y)
    g.run(g.cpy(g.window(x, [4, 1, 1, 1], [first * MIB - 4, 0, 0, 0]), a))
    g.run(g.cpy(g.window(y, [4, 1, 1, 1], [second * MIB - 4, 0, 0, 0]), b))
    return g
  }
  const graphs = [graphOf(12, 8, out[0]!), graphOf(8, 14, out[1]!)]
  own(new GraphAllocator(backend)).allocate(...graphs)
  for (const graph of graphs) graph.compute()
  const read = (tensor: Tensor): number[] => [...readF32(backend, tensor)]
  expect(out.map(([a, b]) => [read(a), read(b)])).toEqual([
    [Array(4).fill(12), Array(4).fill(8)],
    [Array(4).fill(8), Array(4).fill(14)]
  ])
})
