/**
 * Threads of a job. Of one that goes on: sums are split over threads, so that another number may round differently. Of any: they
 * wait for each other.
 */
import { availableParallelism, cpus } from 'node:os'

/**
 * How many threads to open the device with: what the recipe says; else what the job ran with before, as long as this machine
 * has as many processors; else, with a warning, as many as there are. Undefined: the device's own default.
 */
export function resumedThreads(
  asked: number | undefined,
  earlier: number | undefined,
  warn: (text: string) => void,
  available: number = availableParallelism()
): number | undefined {
  if (asked !== undefined || earlier === undefined || earlier <= available) return asked ?? earlier
  warn(
    `this run was started with ${earlier} threads, ${available} processors are here: it goes on with ${available}, and what follows may differ in the last digits from a run that was never stopped`
  )
  return available
}

/**
 * What to say before computing with so many threads on busy processors; null where nothing is in the way. ggml's threads meet
 * after every operation, and one that is not running holds up all of them: measured on two processors with two other programs
 * at work, rollouts with two threads were ten times slower than alone, with one thread hardly.
 * `load` is the whole machine's mean over the last minute: a run of ours just before would count as all processors, no more;
 * where this process may use only some of the machine's it says nothing.
 */
export function busyWarning(
  threads: number,
  load: number,
  processors: number = availableParallelism(),
  machine: number = cpus().length
): string | null {
  if (machine > processors || threads < processors || threads === 1 || load <= processors + 1) return null
  return `other programs keep the processors busy (load ${load.toFixed(1)} on ${processors}): ${threads} threads wait for each other at every operation and may take many times as long; close those programs, or set threads: ${processors - 1}`
}
