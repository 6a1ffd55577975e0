/** A workspace folder that goes with the test. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach } from 'vitest'
import type { NewRun } from '../../src/main/data/store/runs.ts'

const folders: string[] = []
const closers: (() => unknown)[] = []

export function workspace(): string {
  const folder = mkdtempSync(join(tmpdir(), 'reasonsmith-'))
  folders.push(folder)
  return folder
}

/** Called at the end of the test, before its folders go. */
export const atEnd = (close: () => unknown): void => void closers.push(close)

afterEach(async () => {
  for (const close of closers.splice(0).reverse()) {
    try {
      await close()
    } catch {
      // closed by the test itself
    }
  }
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true })
})

let made = 0
export const newRun = (values: Partial<NewRun> = {}): NewRun => ({
  id: `run${made++}`,
  kind: 'sft',
  name: 'a run',
  input: '{"input":{}}',
  recipe: '',
  folder: '/nowhere',
  base: null,
  parent: null,
  created_at: 1000 + made,
  ...values
})
