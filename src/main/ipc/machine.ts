/** The machine the host runs on, in the numbers a person watches while training. */
import { statfsSync } from 'node:fs'
import { arch, cpus, freemem, hostname, release, totalmem, type } from 'node:os'
import type { Machine } from '../../shared/contract/app.ts'

/** Reads the machine; the load is that of the time between two readings, at least `LEAST_MS` apart. */
export function machineReader(workspace: string, device: () => Machine['device']): () => Machine {
  let before = times()
  let load = 0
  const model = cpus()[0]?.model.trim() ?? 'unknown'
  return () => {
    const now = times()
    if (now.at - before.at >= LEAST_MS) {
      load = now.total > before.total ? 1 - (now.idle - before.idle) / (now.total - before.total) : load
      before = now
    }
    return {
      host: hostname(),
      os: `${type()} ${release()} (${arch()})`,
      processor: model,
      processors: cpus().length,
      memoryBytes: totalmem(),
      freeMemoryBytes: availableMemory(),
      load: Math.min(1, Math.max(0, load)),
      freeDiskBytes: freeDisk(workspace),
      device: device()
    }
  }
}

const LEAST_MS = 1000

function times(): { at: number; idle: number; total: number } {
  const sums = cpus().map(({ times: { user, nice, sys, idle, irq } }) => ({
    idle,
    total: user + nice + sys + idle + irq
  }))
  return {
    at: Date.now(),
    idle: sums.reduce((sum, one) => sum + one.idle, 0),
    total: sums.reduce((sum, one) => sum + one.total, 0)
  }
}

/** What a new process may use, caches that can be dropped among it. */
const availableMemory = (): number => Math.min(process.availableMemory(), totalmem()) || freemem()

function freeDisk(folder: string): number {
  try {
    const { bavail, bsize } = statfsSync(folder)
    return bavail * bsize
  } catch {
    return 0 // the folder is on a disk that is gone
  }
}
