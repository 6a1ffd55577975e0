/**
 * Files and folders that are filled beside their place and then renamed to it. A killed process leaves one behind; its name
 * tells whose it is, so that whoever comes next can clear it away.
 */
import { readdirSync, rmSync } from 'node:fs'
import { hostname } from 'node:os'
import { basename, dirname, join } from 'node:path'
import { isRunning } from './processes.ts'

/** With the machine's name: on a shared disk the processes of another one cannot be asked after. */
const end = (pid: string | number): string => `.${hostname()}.${pid}.partial`
const PID = /\.(\d+)\.partial$/

/** Where this process writes what is to become `target`. */
export const partialOf = (target: string): string => join(dirname(target), basename(target) + end(process.pid))

/**
 * Removes what ended processes of this machine left of `target`, under this process's number too: call before writing.
 * Answers with what is gone.
 */
export const removeAbandoned = (target: string): string[] =>
  removeFrom(dirname(target), (name) => name === basename(target))

/** The same of whatever was to be in this folder: call before anything is written there. */
export const removeAbandonedIn = (folder: string): string[] => removeFrom(folder, () => true)

function removeFrom(folder: string, isMeant: (name: string) => boolean): string[] {
  let names
  try {
    names = readdirSync(folder)
  } catch {
    return [] // no such folder: nothing lies in it
  }
  const abandoned = names.filter((name) => {
    const pid = PID.exec(name)?.[1]
    if (pid === undefined || !name.endsWith(end(pid)) || isRunning(Number(pid))) return false
    return isMeant(name.slice(0, -end(pid).length))
  })
  const paths = abandoned.map((name) => join(folder, name))
  for (const path of paths) rmSync(path, { recursive: true, force: true })
  return paths
}
