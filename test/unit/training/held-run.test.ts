/** A run's folder is written by one process at a time; what a dead one left is taken over. */
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { hostname, tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { openRun } from '../../../src/main/training/run.ts'
import type { Run } from '../../../src/main/training/run.ts'

const root = mkdtempSync(join(tmpdir(), 'held-'))
const children: { kill: (signal: 'SIGKILL') => boolean }[] = []
afterAll(() => {
  for (const child of children) child.kill('SIGKILL')
  rmSync(root, { recursive: true })
})

const MARK = 'written-by.json'
let folders = 0
/** A folder that a process is said to write, and an attempt to open a run in it. */
function heldBy(pid: number, more: object = {}): { folder: string; open: () => Run } {
  const folder = join(root, `${folders++}`)
  mkdirSync(folder)
  writeFileSync(join(folder, MARK), JSON.stringify({ pid, host: hostname(), since: Date.now(), ...more }))
  const recipe = { output_dir: folder, save_minutes: 1000 }
  const open = (): Run =>
    openRun({ recipe, folder, resume: true, emit: () => undefined, signal: new AbortController().signal })
  return { folder, open }
}

function living(): number {
  const child = spawn(process.execPath, ['-e', 'setInterval(() => 0, 1000)'])
  children.push(child)
  return child.pid!
}

test('a run that another process writes is refused, and nothing of it is touched', () => {
  const pid = living()
  const { folder, open } = heldBy(pid)
  mkdirSync(join(folder, 'checkpoint-2.partial')) // what it is at
  const refused: unknown = expect.objectContaining({
    code: 'disk',
    message: expect.stringContaining(`process ${pid} is writing ${folder}`) as string
  })
  expect(open).toThrow(refused as Error)
  expect(readdirSync(folder).sort()).toEqual(['checkpoint-2.partial', MARK])
})

test.each([
  ['a process that was killed', () => heldBy(spawnSync(process.execPath, ['-e', '']).pid)],
  ['another machine', () => heldBy(living(), { host: 'elsewhere' })],
  ['a process of this number before the machine was started', () => heldBy(living(), { since: 0 })]
])('what %s left is taken over, and the mark goes with the run', (_, held) => {
  const { folder, open } = held()
  const run = open()
  expect(readdirSync(folder)).toContain(MARK)
  run.close()
  expect(readdirSync(folder)).not.toContain(MARK)
})

test.skipIf(process.platform !== 'linux')('a process that was given the number of the holder is not the holder', () => {
  const pid = living() // as in a container that was started again: the same machine, up all the time
  const started = Number(/\) (.*)/.exec(readFileSync(`/proc/${pid}/stat`, 'utf8'))![1]!.split(' ')[19])
  expect(heldBy(pid, { started }).open).toThrow(`process ${pid} is writing`)
  const run = heldBy(pid, { started: started - 1 }).open()
  run.close()
})

test.skipIf(process.platform !== 'linux')('a process that ended and that nobody asked after does not run', async () => {
  const parent = spawn('sh', ['-c', 'sleep 0 & echo $!; exec sleep 60'], { stdio: ['ignore', 'pipe', 'inherit'] })
  children.push(parent)
  const [said] = (await once(parent.stdout, 'data')) as [Buffer]
  const { open } = heldBy(Number(said.toString()))
  await expect.poll(() => open().close()).toBeUndefined()
})

test('a run that cannot be opened holds nothing', () => {
  const { folder, open } = heldBy(spawnSync(process.execPath, ['-e', '']).pid)
  mkdirSync(join(folder, 'recipe.yaml'))
  expect(open).toThrow(/recipe\.yaml could not be written/)
  expect(readdirSync(folder)).not.toContain(MARK)
})
