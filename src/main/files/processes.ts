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
const hasEnded = (pid: number): boolean => /^[ZX]$/.test(statOf(pid)[0] ?? '')

/**
 * When the process of this number started, in ticks since the machine did (proc_pid_stat(5), field 22): a number is given
 * again, a number and its start are not. undefined where there is no /proc, or no such process.
 */
export function startOf(pid: number): number | undefined {
  const ticks = statOf(pid)[22 - FIRST_FIELD]
  return ticks === undefined ? undefined : Number(ticks)
}

/** Of `number (name) state …`: a name may hold anything, so that the fields are counted from its end. */
const FIRST_FIELD = 3

/** The fields of /proc/PID/stat from the state on; none where there is no such file. */
function statOf(pid: number): readonly string[] {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    return stat
      .slice(stat.lastIndexOf(')') + 2)
      .trim()
      .split(' ')
  } catch {
    return []
  }
}
