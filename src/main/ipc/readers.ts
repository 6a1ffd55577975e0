/** Who still needs a file: what is thrown away must not be read by a run that waits or runs. */
import { sep } from 'node:path'
import { AppError } from '../../shared/errors.ts'
import type { RunRow } from '../data/store/runs.ts'
import type { Host } from './host.ts'

/** The run that waits or runs and names the path, or something below it, in what it is to do. */
export function readerOf({ store }: Host, path: string): RunRow | undefined {
  // Inputs are JSON: the path stands in them as it is written there.
  const file = JSON.stringify(path)
  const below = JSON.stringify(path + sep).slice(0, -1)
  return [...store.runs.withState('running'), ...store.runs.waiting()].find(
    ({ input }) => input.includes(file) || input.includes(below)
  )
}

/** Throws AppError('usage') where such a run still needs the path; `name` is what a person calls it. */
export function refuseRead(host: Host, path: string, name: string): void {
  const reader = readerOf(host, path)
  if (reader === undefined) return
  const text = `${reader.name} reads ${name}; nothing was deleted`
  throw new AppError('usage', text, 'Wait until it has ended, or take it out of the queue.')
}
