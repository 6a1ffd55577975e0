/** A folder that one process writes at a time. */
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { hostname, uptime } from 'node:os'
import { join } from 'node:path'
import { AppError } from '../../shared/errors.ts'
import { isRunning } from './processes.ts'

const MARK = 'written-by.json'

type Holder = { readonly pid: number; readonly host: string; /** Milliseconds since 1970. */ readonly since: number }

/**
 * Marks the folder, which is made where it is missing, as this process's until what it answers with is called. What a
 * killed process left, or another machine, is taken over. Throws AppError('disk') while another process of this machine
 * has it.
 */
export function holdFolder(folder: string): () => void {
  const path = join(folder, MARK)
  const mine: Holder = { pid: process.pid, host: hostname(), since: Date.now() }
  mkdirSync(folder, { recursive: true })
  for (let taken = false; !taken;) {
    try {
      writeFileSync(path, JSON.stringify(mine), { flag: 'wx' })
      taken = true
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') {
        rmSync(path, { force: true }) // a full disk makes an empty one
        throw error
      }
      const holder = holderOf(path)
      if (holder !== null && isAlive(holder))
        throw new AppError(
          'disk',
          `process ${holder.pid} is writing ${folder}, since ${new Date(holder.since).toLocaleString()}`,
          `Wait for it or stop it. Where that process is none of Reasonsmith, remove ${MARK} from the folder.`
        )
      rmSync(path, { force: true })
    }
  }
  return () => {
    if (holderOf(path)?.pid === process.pid) rmSync(path, { force: true })
  }
}

/** One that began before the machine was started has the number of another by now. */
const isAlive = ({ pid, host, since }: Holder): boolean =>
  host === hostname() && since > Date.now() - uptime() * 1000 && isRunning(pid)

function holderOf(path: string): Holder | null {
  try {
    return JSON.parse(readFileSync(path, 'utf8')) as Holder
  } catch {
    return null // gone, or torn: it names nobody
  }
}
