/**
 * Folders that are filled beside their place and then renamed to it. A killed process leaves one behind; its name tells
 * whose it is, so that whoever comes next can clear it away.
 */
import { readdirSync, rmSync } from 'node:fs'
import { hostname } from 'node:os'
import { basename, dirname, join } from 'node:path'

/** With the machine's name: on a shared disk the processes of another one cannot be asked after. */
const beginning = (target: string): string => `${basename(target)}.${hostname()}.`
const END = /^(\d+)\.partial$/

/** Where this process writes what is to become `target`. */
export const partialFolder = (target: string): string =>
  join(dirname(target), `${beginning(target)}${process.pid}.partial`)

/**
 * Removes what ended processes of this machine left of `target`, under this process's number too: call before writing.
 * Answers with the folders that are gone.
 */
export function removeAbandoned(target: string): string[] {
  const begin = beginning(target)
  let entries
  try {
    entries = readdirSync(dirname(target), { withFileTypes: true })
  } catch {
    return [] // no such folder: nothing lies in it
  }
  const abandoned = entries.flatMap((entry) => {
    const pid = entry.isDirectory() && entry.name.startsWith(begin) ? END.exec(entry.name.slice(begin.length)) : null
    return pid === null || isRunning(Number(pid[1])) ? [] : [join(dirname(target), entry.name)]
  })
  for (const path of abandoned) rmSync(path, { recursive: true, force: true })
  return abandoned
}

/** Another process; one that may not be signalled runs. */
function isRunning(pid: number): boolean {
  if (pid === process.pid) return false
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return (error as NodeJS.ErrnoException).code !== 'ESRCH'
  }
}
