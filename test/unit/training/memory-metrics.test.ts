/** A device's own memory is told where it has some, in MiB. */
import { expect, test } from 'vitest'
import { memoryMetrics } from '../../../src/main/training/memory-metrics.ts'

test('a device with memory of its own adds what is in use on it; the plan stands beside what is measured', () => {
  expect(memoryMetrics({ usedMemory: () => 3 * 2 ** 30 }, 2 ** 32)).toEqual({
    'memory_mib/resident': expect.any(Number),
    'memory_mib/device': 3072,
    'memory_mib/planned': 4096
  })
  expect(Object.keys(memoryMetrics({ usedMemory: () => null }, undefined))).toEqual(['memory_mib/resident'])
})
