/** What a step tells of memory. Like times these are of the moment: no two runs share them, a resumed one neither. */
import type { Metrics } from '../../shared/event.ts'
import type { Backend } from '../engine/backend.ts'

const MIB = 2 ** 20

/**
 * MiB that this process holds in the host's memory, pages of mapped weights among them; where the device has memory of its
 * own, MiB in use there; and the peak that was planned for where the run computes (checkpoints of older versions name none).
 */
export function memoryMetrics({ usedMemory }: Pick<Backend, 'usedMemory'>, peakBytes: number | undefined): Metrics {
  const used = usedMemory()
  return {
    'memory_mib/resident': process.memoryUsage.rss() / MIB,
    ...(used !== null && { 'memory_mib/device': used / MIB }),
    ...(peakBytes !== undefined && { 'memory_mib/planned': peakBytes / MIB })
  }
}
