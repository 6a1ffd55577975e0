/** What a step tells of memory. Like times these are of the moment: no two runs share them, a resumed one neither. */
import type { Metrics } from '../../shared/event.ts'
import type { Backend } from '../engine/backend.ts'

const MIB = 2 ** 20

/**
 * MiB that this process holds in the host's memory, pages of mapped weights among them, and, where the device has memory of
 * its own, MiB in use there.
 */
export function memoryMetrics({ usedMemory }: Pick<Backend, 'usedMemory'>): Metrics {
  const used = usedMemory()
  return {
    'memory_mib/resident': process.memoryUsage.rss() / MIB,
    ...(used !== null && { 'memory_mib/device': used / MIB })
  }
}
