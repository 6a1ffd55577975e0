import { expect, test } from 'vitest'
import { scratchGroups } from '../../../src/main/engine/graph-allocator.ts'

test('what fits one buffer shares scratch; of what does not, only what is of one size', () => {
  const size = (bytes: number): number => bytes
  expect(scratchGroups([5, 30, 16, 40, 30, 1], size, 16)).toEqual([[5, 16, 1], [30, 30], [40]])
  expect(scratchGroups([5, 30], size, Infinity)).toEqual([[5, 30]])
})
