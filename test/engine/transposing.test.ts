/** Transposes as data: the CPU's way through concat gives what a plain copy of the transposed view gives. */
import { expect, test } from 'vitest'
import { Graph, GraphAllocator } from '../../src/main/engine/graph.ts'
import { readF32 } from '../../src/main/engine/tensor.ts'
import { transposedInParts } from '../../src/main/engine/transposing.ts'
import { owner } from './owner.ts'
import { Rig } from './rig.ts'

const own = owner()

test.each([
  [[576, 9, 1], true],
  [[2, 2, 1], true],
  [[130, 48, 3], true],
  [[137, 12, 2], false], // a prime number of rows cannot be parted
  [[1, 12, 2], false],
  [[12, 1, 1], false]
] as const)('of %o', (ne, inParts) => {
  const rig = new Rig(own)
  const a = rig.random('a', 1, ...ne)
  rig.ready()
  const g = own(new Graph(rig.backend))
  const made = transposedInParts(g, a)
  expect(made !== null).toBe(inParts)
  const [asked, plain] = [g.transposed(a), g.copy(g.permute(a, [1, 0, 2, 3]))]
  for (const node of [asked, plain]) g.output(node)
  own(new GraphAllocator(rig.backend)).allocate(g)
  g.compute()
  expect(asked.ne).toEqual([ne[1], ne[0], ne[2], 1])
  expect(readF32(rig.backend, asked)).toEqual(readF32(rig.backend, plain))
})
