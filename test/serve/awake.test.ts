/** The machine is kept awake by a tool of the system, which is stood in for: it notes that it runs, and for whom. */
import { chmodSync, existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { awakeWhile } from '../../src/main/serve/awake.ts'
import { atEnd, workspace } from '../store/workspace.ts'

const alive = (pid: number): boolean => {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}

/** A folder first in PATH with a `systemd-inhibit` of this text. */
function standIn(text: string): string {
  const folder = workspace()
  const file = join(folder, 'systemd-inhibit')
  writeFileSync(file, `#!/bin/sh\n${text}\n`)
  chmodSync(file, 0o755)
  const before = process.env['PATH']
  process.env['PATH'] = `${folder}:${before}`
  atEnd(() => void (process.env['PATH'] = before))
  return folder
}

test('while runs are at work the system is told so, once, and no longer when they are done', async () => {
  const folder = standIn('echo "$$ $*" >> "$(dirname "$0")/asked"; exec cat')
  const asked = join(folder, 'asked')
  const said: string[] = []
  const awake = awakeWhile((text) => said.push(text), 'linux')
  awake(false)
  expect(existsSync(asked)).toBe(false)
  awake(true)
  awake(true)
  await expect.poll(() => existsSync(asked) && readFileSync(asked, 'utf8').endsWith('\n')).toBe(true)
  const lines = readFileSync(asked, 'utf8').trim().split('\n')
  expect(lines).toHaveLength(1)
  expect(lines[0]).toMatch(/--what=idle:sleep .*--mode=block cat$/)
  const pid = Number(lines[0]!.split(' ')[0])
  expect(alive(pid)).toBe(true)
  awake(false)
  await expect.poll(() => alive(pid)).toBe(false)
  awake(true)
  await expect.poll(() => readFileSync(asked, 'utf8').trim().split('\n').length).toBe(2)
  awake(false)
  expect(said).toEqual([])
})

test('where it cannot be done it is logged once, and runs go on', async () => {
  standIn('exit 3')
  const said: string[] = []
  const awake = awakeWhile((text) => said.push(text), 'linux')
  awake(true)
  await expect.poll(() => said).toEqual([expect.stringContaining('systemd-inhibit ended with 3')])
  awake(false)
  const elsewhere = awakeWhile((text) => said.push(text), 'aix')
  elsewhere(true)
  elsewhere(true)
  expect(said.slice(1)).toEqual([expect.stringContaining('no way is known on aix')])
})
