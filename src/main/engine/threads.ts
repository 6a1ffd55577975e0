/** Threads of a job that goes on: sums are split over threads, so that another number may round differently. */
import { availableParallelism } from 'node:os'

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
