/**
 * The workspace's database: one file, one writer, never overwritten when it is damaged. SQLite's own exclusive lock is what
 * keeps a second host out (it dies with its process); `host.json` only tells who holds it.
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { hostname } from 'node:os'
import { join } from 'node:path'
import Database from 'better-sqlite3'
import { AppError } from '../../../shared/errors.ts'
import { MIGRATIONS } from './migrations/index.ts'

export type Db = Database.Database

export type OpenedDb = {
  readonly db: Db
  readonly path: string
  /** What a person should know about the opening: restored from a backup, migrated. */
  readonly notices: readonly string[]
  readonly integrity: string
  readonly lastBackupAt: () => number | null
  /** Copies the database while it is in use; resolves with the copy's path. */
  readonly backup: () => Promise<string>
  readonly close: () => void
}

const FILE = 'reasonsmith.db'
const HOLDER = 'host.json'
const KEPT_BACKUPS = 3
/** A larger file is checked only after an unclean end: the check reads all of it. */
const CHECK_BYTES = 256 * 2 ** 20
const LOCK_WAIT_MS = 200

/** Opens the database of a workspace folder, which is made where it is missing. `now` is for tests. */
export function openDb(folder: string, now: () => number = Date.now): OpenedDb {
  const path = join(folder, FILE)
  const backups = join(folder, 'backups')
  onFolder(folder, () => mkdirSync(backups, { recursive: true }))
  const notices: string[] = []
  const first = openWhole(path, folder)
  const { db, integrity } =
    first.kind === 'whole' ? first : restore({ path, backups, why: first.why, folder, notices, now })
  writeFileSync(join(folder, HOLDER), JSON.stringify({ pid: process.pid, host: hostname(), since: now() }))
  try {
    migrate(db, backups, notices, now)
  } catch (error) {
    db.close()
    throw error
  }
  db.exec(`INSERT OR REPLACE INTO settings (name, value) VALUES ('unclean', 'true')`)
  return {
    db,
    path,
    notices,
    integrity,
    lastBackupAt: () => backupsOf(backups)[0]?.at ?? null,
    backup: async () => {
      const to = join(backups, backupName(now()))
      await db.backup(`${to}.partial`)
      renameSync(`${to}.partial`, to)
      pruneBackups(backups)
      return to
    },
    close: () => {
      db.exec(`DELETE FROM settings WHERE name = 'unclean'`)
      db.close()
      rmSync(join(folder, HOLDER), { force: true })
    }
  }
}

type Tried =
  | { readonly kind: 'whole'; readonly db: Db; readonly integrity: string }
  | { readonly kind: 'damaged'; readonly why: string }

/** Opens, locks and checks. Throws AppError('disk') when another host has it; says so when the file is damaged. */
function openWhole(path: string, folder: string): Tried {
  const bytes = existsSync(path) ? statSync(path).size : 0
  let db: Db | null = null
  try {
    db = new Database(path, { timeout: LOCK_WAIT_MS })
    db.pragma('page_size = 8192') // of a new file; steps of forty metrics fit several to a page
    db.pragma('locking_mode = EXCLUSIVE')
    db.pragma('journal_mode = WAL')
    db.pragma('synchronous = NORMAL')
    db.pragma('foreign_keys = ON')
    db.pragma('temp_store = MEMORY')
    db.pragma('cache_size = -32000')
    db.exec('BEGIN IMMEDIATE; COMMIT')
    const check = bytes <= CHECK_BYTES || endedUnclean(db)
    const integrity = check
      ? String(db.pragma('quick_check(1)', { simple: true }))
      : 'not checked: the last end was clean'
    if (!check || integrity === 'ok') return { kind: 'whole', db, integrity }
    db.close()
    return { kind: 'damaged', why: integrity.split('\n')[0]! }
  } catch (error) {
    db?.close()
    const code = String((error as { code?: unknown }).code)
    if (/^SQLITE_(BUSY|LOCKED)/.test(code)) throw heldByAnother(folder, error)
    if (/^SQLITE_(CORRUPT|NOTADB)/.test(code)) return { kind: 'damaged', why: (error as Error).message }
    if (/^SQLITE_/.test(code)) throw diskError(`${path}: ${(error as Error).message}`, error)
    throw error
  }
}

const endedUnclean = (db: Db): boolean => {
  const table = db.prepare(`SELECT 1 FROM sqlite_master WHERE name = 'settings'`).get()
  return table !== undefined && db.prepare(`SELECT 1 FROM settings WHERE name = 'unclean'`).get() !== undefined
}

type Restoring = { path: string; backups: string; why: string; folder: string; notices: string[]; now: () => number }

/** The newest backup that is whole takes the place of the damaged file, which is kept under another name. */
function restore({ path, backups, why, folder, notices, now }: Restoring): { db: Db; integrity: string } {
  const good = backupsOf(backups).find(({ file }) => isWhole(file))
  if (good === undefined) {
    throw new AppError(
      'disk',
      `${path} is damaged (${why}) and no backup of it is whole`,
      `Nothing was changed. Move the file away to start with an empty record, or put a good copy in its place.`
    )
  }
  const aside = `${path}.damaged-${stamp(now())}`
  for (const end of ['', '-wal', '-shm']) if (existsSync(path + end)) renameSync(path + end, aside + end)
  const copy = new Database(good.file, { readonly: true })
  try {
    copy.exec(`VACUUM INTO '${`${path}.partial`.replaceAll("'", "''")}'`)
  } finally {
    copy.close()
  }
  renameSync(`${path}.partial`, path)
  notices.push(
    `The record was damaged (${why}). It was restored from the backup of ${new Date(good.at).toLocaleString()}; the damaged file is kept as ${aside}.`
  )
  const opened = openWhole(path, folder)
  if (opened.kind === 'whole') return opened
  throw diskError(`${path} cannot be read although it was just restored: ${opened.why}`, undefined)
}

function isWhole(file: string): boolean {
  let db: Db | null = null
  try {
    db = new Database(file, { readonly: true })
    return db.pragma('quick_check(1)', { simple: true }) === 'ok'
  } catch {
    return false // a backup that cannot be opened is none
  } finally {
    db?.close()
  }
}

/** Brings the schema to the newest version, each step in a transaction of its own, after a backup. */
function migrate(db: Db, backups: string, notices: string[], now: () => number): void {
  const version = Number(db.pragma('user_version', { simple: true }))
  if (version > MIGRATIONS.length) {
    throw new AppError(
      'disk',
      `the workspace's record is of version ${version}, this program knows ${MIGRATIONS.length}`,
      'It was written by a newer Reasonsmith: use that one, or choose another workspace. Nothing was changed.'
    )
  }
  if (version > 0 && version < MIGRATIONS.length) {
    const to = join(backups, backupName(now()))
    db.exec(`VACUUM INTO '${to.replaceAll("'", "''")}'`)
    notices.push(`The record was brought from version ${version} to ${MIGRATIONS.length}; a copy from before is ${to}.`)
  }
  migrateTo(db, MIGRATIONS.length)
}

/** Applies the migrations up to `target`. Exported for the tests of every earlier version. */
export function migrateTo(db: Db, target: number): void {
  for (let version = Number(db.pragma('user_version', { simple: true })); version < target; version++) {
    db.transaction(() => {
      db.exec(MIGRATIONS[version]!)
      db.pragma(`user_version = ${version + 1}`)
    })()
  }
}

const stamp = (time: number): string => new Date(time).toISOString().replaceAll(/[:.]/g, '-')
const backupName = (time: number): string => `reasonsmith-${stamp(time)}.db`

/** Newest first. */
function backupsOf(folder: string): { file: string; at: number }[] {
  return readdirSync(folder)
    .filter((name) => /^reasonsmith-.*\.db$/.test(name))
    .map((name) => ({ file: join(folder, name), at: Math.round(statSync(join(folder, name)).mtimeMs) }))
    .sort((a, b) => b.at - a.at || b.file.localeCompare(a.file))
}

function pruneBackups(folder: string): void {
  for (const { file } of backupsOf(folder).slice(KEPT_BACKUPS)) rmSync(file)
}

function heldByAnother(folder: string, cause: unknown): AppError {
  const file = join(folder, HOLDER)
  let who = 'another program'
  if (existsSync(file)) {
    try {
      const { pid, host, since } = JSON.parse(readFileSync(file, 'utf8')) as {
        pid: number
        host: string
        since: number
      }
      who = `process ${pid} on ${host}, since ${new Date(since).toLocaleString()}`
    } catch {
      // a half-written note names nobody
    }
  }
  return new AppError(
    'disk',
    `the workspace ${folder} is in use by ${who}`,
    'Close that one, or choose another workspace.',
    {
      cause
    }
  )
}

const diskError = (message: string, cause: unknown): AppError =>
  new AppError('disk', message, 'Make room or choose another workspace, then try again.', { cause })

function onFolder(folder: string, work: () => void): void {
  try {
    work()
  } catch (cause) {
    throw diskError(`the workspace ${folder} cannot be made: ${(cause as Error).message}`, cause)
  }
}
