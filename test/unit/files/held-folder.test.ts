/** Of several processes that want a folder at the same moment, one gets it, whatever they find there. */
import { spawn, spawnSync } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import type * as fs from 'node:fs'
import { mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { hostname, tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, expect, test, vi } from 'vitest'
import { holdFolder } from '../../../src/main/files/held-folder.ts'

/** Whether hard links are refused, as a memory stick's file system does. */
const disk = vi.hoisted(() => ({ withoutLinks: false }))
vi.mock('node:fs', async (importOriginal) => {
  const original = await importOriginal<typeof fs>()
  const linkSync: typeof fs.linkSync = (from, to) => {
    if (disk.withoutLinks) throw Object.assign(new Error('EPERM: operation not permitted, link'), { code: 'EPERM' })
    original.linkSync(from, to)
  }
  return { ...original, linkSync }
})

const MARK = 'written-by.json'
const FIXTURE = fileURLToPath(new URL('holder.fixture.ts', import.meta.url))
const root = mkdtempSync(join(tmpdir(), 'holders-'))
const children: ChildProcess[] = []
afterAll(() => {
  for (const child of children) child.kill('SIGKILL')
  rmSync(root, { recursive: true })
})

const RACERS = 4
const ROUNDS = 150
const EVERY_MS = 10
const STARTING_MS = 1500

const dead = (): string =>
  JSON.stringify({ pid: spawnSync(process.execPath, ['-e', '']).pid, host: hostname(), since: Date.now() })

test.each([
  ['a new folder', () => undefined],
  ['the folder of a killed process', dead],
  ['a folder with a torn mark', () => '{"pid":']
])(
  'of processes that want %s at once, one gets it',
  async (name, found) => {
    const text = found()
    const folders = Array.from({ length: ROUNDS }, (_, at) => join(root, `${name} ${at}`))
    for (const folder of folders) {
      mkdirSync(folder)
      if (text !== undefined) writeFileSync(join(folder, MARK), text)
    }
    const args = [FIXTURE, 'race', String(Date.now() + STARTING_MS), String(EVERY_MS), ...folders]
    const racers = Array.from({ length: RACERS }, () =>
      spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] })
    )
    children.push(...racers)
    const said = await Promise.all(racers.map(async ({ stdout }) => String((await once(stdout, 'data'))[0])))
    const winners = said.flatMap((line) => JSON.parse(line) as string[])
    expect(winners.sort()).toEqual([...folders].sort())
    for (const folder of folders) expect(readdirSync(folder)).toEqual([MARK])
    for (const racer of racers) racer.kill('SIGKILL')
  },
  30_000
)

test.skipIf(process.platform === 'win32')('who cannot write a mark leaves the one that is there', () => {
  const folder = join(root, 'no files')
  const release = holdFolder(folder)
  const before = readFileSync(join(folder, MARK), 'utf8')
  const limited = ['-c', 'ulimit -n 256; exec "$0" "$@"', process.execPath, FIXTURE, 'without-files', folder]
  expect(spawnSync('sh', limited, { encoding: 'utf8' }).stdout).toBe('EMFILE')
  expect(readdirSync(folder)).toEqual([MARK])
  expect(readFileSync(join(folder, MARK), 'utf8')).toBe(before)
  release()
  expect(readdirSync(folder)).toEqual([])
})

test('the mark of another is not removed with the own', () => {
  const folder = join(root, 'replaced')
  const release = holdFolder(folder)
  writeFileSync(join(folder, MARK), JSON.stringify({ pid: process.pid, host: hostname(), since: 0 }))
  release()
  expect(readdirSync(folder)).toEqual([MARK])
})

test('one who was killed while it took over does not keep the next from it', () => {
  const folder = join(root, 'killed twice')
  mkdirSync(folder)
  const [mark, claim] = [dead(), dead()]
  writeFileSync(join(folder, MARK), mark)
  writeFileSync(join(folder, `${MARK}.${createHash('sha256').update(mark).digest('hex').slice(0, 32)}`), claim)
  const release = holdFolder(folder)
  expect(readdirSync(folder)).toEqual([MARK])
  expect(JSON.parse(readFileSync(join(folder, MARK), 'utf8'))).toMatchObject({ pid: process.pid })
  release()
  expect(readdirSync(folder)).toEqual([])
})

test('where a file system has no links, a folder is held all the same', () => {
  const folder = join(root, 'stick')
  disk.withoutLinks = true
  try {
    const release = holdFolder(folder)
    expect(readdirSync(folder)).toEqual([MARK])
    expect(
      spawnSync(process.execPath, [FIXTURE, 'race', '0', '0', folder], { encoding: 'utf8', timeout: 3000 }).stdout
    ).toBe('[]\n')
    release()
    writeFileSync(join(folder, MARK), dead())
    holdFolder(folder)()
    expect(readdirSync(folder)).toEqual([])
  } finally {
    disk.withoutLinks = false
  }
})
