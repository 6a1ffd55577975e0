/** Other processes of this machine, by their number. */
import { readFileSync } from 'node:fs'

/** Whether another process of this number runs; one that may not be signalled does, one that has ended and only waits to be noticed does not. */
export function isRunning(pid: number): boolean {
  if (pid === process.pid) return false
  try {
    process.kill(pid, 0)
  } catch (error) {
    return (error as NodeJS.ErrnoException).code !== 'ESRCH'
  }
  return !hasEnded(pid)
}

/** Linux keeps the number of a process that has ended until its parent asks; in a container that may be never. */
function hasEnded(pid: number): boolean {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8') // number (name) state …, and a name may hold anything
    return /^ [ZX]/.test(stat.slice(stat.lastIndexOf(')') + 1))
  } catch {
    return false // no /proc here
  }
}
