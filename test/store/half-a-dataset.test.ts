/** What a host that was killed left of a dataset is gone at the next start; what another process writes stays. */
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, readdirSync, writeFileSync } from 'node:fs'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { openHost } from '../../src/main/ipc/host.ts'
import type { Host } from '../../src/main/ipc/host.ts'
import { atEnd, workspace } from './workspace.ts'

const FIXTURE = join(import.meta.dirname, 'half-a-dataset.fixture.ts')

function opened(folder: string): Host {
  const host = openHost({ workspace: folder, workerPath: '', version: '0', desktop: false })
  atEnd(host.close)
  return host
}

test('a host that was killed between two rows', async () => {
  const folder = workspace()
  const child = spawn(process.execPath, [FIXTURE, folder, 'rows'], { stdio: ['ignore', 'pipe', 'inherit'] })
  atEnd(() => child.kill('SIGKILL'))
  await once(child.stdout, 'data')
  expect(readdirSync(join(folder, 'datasets'))).toEqual([expect.stringMatching(/^mine-\w+\.jsonl\..*partial$/)])
  child.kill('SIGKILL')
  await once(child, 'exit')
  const host = opened(folder)
  expect(readdirSync(host.at('datasets'))).toEqual([])
  expect(host.store.datasets.list(false)).toEqual([])
})

test('a host that was killed when the file was in its place and the record not yet there', () => {
  const folder = workspace()
  const { signal } = spawnSync(process.execPath, [FIXTURE, folder, 'placed'], { stdio: 'inherit' })
  expect(signal).toBe('SIGKILL')
  expect(readdirSync(join(folder, 'datasets'))).toEqual([expect.stringMatching(/^mine-\w+\.jsonl$/)])
  const host = opened(folder)
  expect(readdirSync(host.at('datasets'))).toEqual([])
  expect(host.store.datasets.list(false)).toEqual([])
})

test('what a live process, another machine or a person put there stays', () => {
  const folder = workspace()
  const alive = spawn(process.execPath, ['-e', 'setInterval(() => 0, 1000)'])
  atEnd(() => alive.kill('SIGKILL'))
  const dead = spawnSync(process.execPath, ['-e', '']).pid
  const [of, mine] = [hostname(), 'mine-0123.jsonl']
  const stay = [
    mine,
    `${mine}.${of}.${alive.pid}.partial`,
    `${mine}.elsewhere.${dead}.partial`,
    `${mine}.${of}.mine.partial`
  ]
  mkdirSync(join(folder, 'datasets'), { recursive: true })
  for (const name of [...stay, `${mine}.${of}.${dead}.partial`]) writeFileSync(join(folder, 'datasets', name), '{}\n')
  const host = opened(folder)
  expect(readdirSync(host.at('datasets')).sort()).toEqual([...stay].sort())
})
