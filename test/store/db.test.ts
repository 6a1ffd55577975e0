import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { AppError } from '../../src/shared/errors.ts'
import { openDb } from '../../src/main/data/store/db.ts'
import { openStore } from '../../src/main/data/store/index.ts'
import { atEnd, newRun, workspace } from './workspace.ts'

const FILE = 'reasonsmith.db'

function thrown(work: () => unknown): AppError {
  try {
    work()
  } catch (error) {
    expect(error).toBeInstanceOf(AppError)
    return error as AppError
  }
  throw new Error('nothing was thrown')
}

test('a second host on the same workspace is refused by the name of the first', () => {
  const folder = workspace()
  const first = openDb(folder)
  atEnd(first.close)
  const error = thrown(() => openDb(folder))
  expect(error.code).toBe('disk')
  expect(error.message).toContain(`is in use by process ${process.pid}`)
  first.close()
  openDb(folder).close()
})

test('a host that was killed leaves no lock behind, and a transaction it was in leaves nothing', async () => {
  const folder = workspace()
  const child = spawn(process.execPath, [join(import.meta.dirname, 'torn-transaction.fixture.ts'), folder], {
    stdio: ['ignore', 'pipe', 'inherit']
  })
  const ready = new Promise<void>((resolve) => child.stdout.once('data', () => resolve()))
  await ready
  child.kill('SIGKILL')
  await once(child, 'exit')

  const store = openStore(folder)
  atEnd(store.opened.close)
  expect(store.opened.integrity).toBe('ok')
  const [row] = store.runs.waiting()
  expect(row?.name).toBe('kept')
  expect(store.events.lastSeq(row!.number)).toBe(100)
  expect(store.events.series(row!.number, undefined, 1000)).toEqual([
    {
      metric: 'loss',
      step: Array.from({ length: 100 }, (_, i) => i + 1),
      value: Array.from({ length: 100 }, (_, i) => i)
    }
  ])
})

async function withBackup(): Promise<string> {
  const folder = workspace()
  const store = openStore(folder)
  store.runs.add(newRun({ name: 'precious' }))
  await store.opened.backup()
  store.runs.add(newRun({ name: 'since then' }))
  store.opened.close()
  return folder
}

test.each([
  ['scribbled over', (path: string) => scribble(path)],
  ['cut in half', (path: string) => truncateSync(path, Math.floor(statSync(path).size / 2))],
  ['something else', (path: string) => writeFileSync(path, 'this is no database at all, but some notes\n'.repeat(100))]
])('a record that is %s is restored from its backup; the damaged file is kept', async (_how, damage) => {
  const folder = await withBackup()
  const path = join(folder, FILE)
  damage(path)
  const damaged = readFileSync(path)
  const store = openStore(folder)
  atEnd(store.opened.close)
  expect(store.runs.waiting().map(({ name }) => name)).toEqual(['precious'])
  expect(store.opened.notices[0]).toMatch(/damaged.*restored from the backup/)
  const aside = readdirSync(folder).find((name) => name.startsWith(`${FILE}.damaged-`) && !/-(wal|shm)$/.test(name))
  expect(readFileSync(join(folder, aside!)).equals(damaged)).toBe(true)
})

test('a damaged record without a backup is refused and not touched', () => {
  const folder = workspace()
  openStore(folder).opened.close()
  const path = join(folder, FILE)
  scribble(path)
  const before = readFileSync(path)
  const error = thrown(() => openDb(folder))
  expect(error.message).toMatch(/is damaged .* no backup of it is whole/)
  expect(error.hint).toContain('Nothing was changed')
  expect(readFileSync(path).equals(before)).toBe(true)
})

test('a damaged backup is passed over for an older whole one', async () => {
  const folder = await withBackup()
  const [good] = readdirSync(join(folder, 'backups'))
  scribble(join(folder, FILE))
  const later = join(folder, 'backups', 'reasonsmith-9999.db')
  writeFileSync(later, readFileSync(join(folder, 'backups', good!)))
  scribble(later)
  const store = openStore(folder)
  atEnd(store.opened.close)
  expect(store.runs.waiting().map(({ name }) => name)).toEqual(['precious'])
})

test('three backups are kept', async () => {
  const folder = workspace()
  let now = 1_700_000_000_000
  const opened = openDb(folder, () => (now += 1000))
  atEnd(opened.close)
  for (let i = 0; i < 5; i++) await opened.backup()
  expect(readdirSync(join(folder, 'backups'))).toHaveLength(3)
  expect(opened.lastBackupAt()).not.toBeNull()
})

test('a workspace that cannot be made is refused in words', () => {
  const folder = workspace()
  writeFileSync(join(folder, 'file'), '')
  expect(thrown(() => openDb(join(folder, 'file', 'deeper'))).code).toBe('disk')
  mkdirSync(join(folder, 'here'))
  expect(existsSync(join(folder, 'here', FILE))).toBe(false)
})

/** Garbage over some pages after the first, which alone would look whole. */
function scribble(path: string): void {
  const bytes = readFileSync(path)
  bytes.fill(0xa5, 4096, Math.min(bytes.length, 4096 * 8))
  writeFileSync(path, bytes)
}
