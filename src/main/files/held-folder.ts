/** A folder that one process writes at a time. */
import { createHash, randomUUID } from 'node:crypto'
import { constants, copyFileSync, linkSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { hostname, uptime } from 'node:os'
import { join } from 'node:path'
import { AppError } from '../../shared/errors.ts'
import { isRunning, startOf } from './processes.ts'

const MARK = 'written-by.json'

export type Holder = {
  readonly pid: number
  readonly host: string
  /** Milliseconds since 1970. */
  readonly since: number
  /** When the process started, as `startOf` has it; absent where the system does not say. */
  readonly started?: number
}

/**
 * Marks the folder, which is made where it is missing, as this process's until what it answers with is called. What a
 * killed process left, or another machine, is taken over. Throws AppError('disk') while another process of this machine
 * has it, and what the system says where the mark cannot be written.
 */
export function holdFolder(folder: string): () => void {
  mkdirSync(folder, { recursive: true })
  return take(folder, join(folder, MARK))
}

/** The other process of this machine that writes the folder now, if any. */
export function holderOf(folder: string): Holder | undefined {
  const text = textOf(join(folder, MARK))
  return text === undefined ? undefined : livingHolder(text)
}

/** Whether a folder's file is a mark, or what a process that was killed while it made one left. */
export const isMark = (name: string): boolean => name === MARK || name.startsWith(`${MARK}.`)

/**
 * Puts a mark of this process in `path`. It is written under a name of its own and appears whole. A dead one is replaced
 * only by who holds the mark that is named after its text, so that of several that find it dead one replaces it; nobody
 * else touches a mark that is not its own.
 */
function take(folder: string, path: string): () => void {
  const id = randomUUID() // no two marks have the same text
  const started = startOf(process.pid)
  const mine = { pid: process.pid, host: hostname(), since: Date.now(), ...(started !== undefined && { started }), id }
  const text = JSON.stringify(mine satisfies Holder)
  const written = join(folder, `${MARK}.${id}`)
  try {
    writeFileSync(written, text, { flag: 'wx' })
    while (!appears(written, path)) {
      const found = textOf(path)
      if (found === undefined) continue // released since
      const holder = livingHolder(found)
      if (holder !== undefined) throw isHeld(folder, holder)
      if (replaced(folder, path, found, written)) break
    }
  } finally {
    rmSync(written, { force: true })
  }
  return () => {
    if (textOf(path) === text) rmSync(path, { force: true })
  }
}

/** Gives a written mark the name `path` too; false where there is something of this name. */
function appears(written: string, path: string): boolean {
  try {
    try {
      linkSync(written, path)
    } catch (error) {
      if (isCode(error, 'EEXIST')) throw error
      // A file system without links, as memory sticks have: a copy is as exclusive, and torn for a moment.
      copyFileSync(written, path, constants.COPYFILE_EXCL)
    }
    return true
  } catch (error) {
    if (isCode(error, 'EEXIST')) return false
    throw error
  }
}

/** Replaces the dead mark `found`; false where it has gone before. Throws as `holdFolder` while another is at it. */
function replaced(folder: string, path: string, found: string, written: string): boolean {
  const name = createHash('sha256').update(found).digest('hex').slice(0, 32)
  const release = take(folder, join(folder, `${MARK}.${name}`))
  try {
    if (textOf(path) !== found) return false
    renameSync(written, path)
    return true
  } finally {
    release()
  }
}

const isHeld = (folder: string, { pid, since }: Holder): AppError =>
  new AppError(
    'disk',
    `process ${pid} is writing ${folder}, since ${new Date(since).toLocaleString()}`,
    `Wait for it or stop it. Where that process is none of Reasonsmith, remove ${MARK} from the folder.`
  )

/** Whom a mark names, if that process of this machine runs; a torn mark names nobody. */
function livingHolder(text: string): Holder | undefined {
  try {
    const holder = JSON.parse(text) as Holder | null
    return holder !== null && isAlive(holder) ? holder : undefined
  } catch (error) {
    if (error instanceof SyntaxError) return undefined
    throw error
  }
}

/** One that began before the machine was started, or at another time than the mark says, has the number of another by now. */
const isAlive = ({ pid, host, since, started }: Holder): boolean =>
  host === hostname() &&
  since > Date.now() - uptime() * 1000 &&
  isRunning(pid) &&
  (started === undefined || started === (startOf(pid) ?? started))

/** undefined where there is no such file. */
function textOf(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8')
  } catch (error) {
    if (isCode(error, 'ENOENT')) return undefined
    throw error
  }
}

const isCode = (error: unknown, code: string): boolean => (error as NodeJS.ErrnoException).code === code
