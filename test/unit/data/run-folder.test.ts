/** Which folders a new run may have. */
import { spawn, spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { hostname, tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { occupied, refuseOccupied } from '../../../src/main/data/prepare/run-folder.ts'
import { checkedRecipe } from '../../../src/main/data/prepare/recipe-file.ts'

const root = mkdtempSync(join(tmpdir(), 'occupied-'))
const living = spawn(process.execPath, ['-e', 'setInterval(() => 0, 1000)'])
afterAll(() => {
  living.kill('SIGKILL')
  rmSync(root, { recursive: true })
})

/** What a run that has no checkpoint yet has written, and the refusal of a recipe that wants the folder. */
function begunBy(pid: number): { folder: string; refusal: () => void } {
  const folder = mkdtempSync(join(root, 'run-'))
  for (const name of ['recipe.yaml', 'run.json', 'events.jsonl', 'written-by.json.0f']) writeFileSync(join(folder, name), '') // prettier-ignore
  writeFileSync(join(folder, 'written-by.json'), JSON.stringify({ pid, host: hostname(), since: Date.now() }))
  const base = join(import.meta.dirname, '../../../resources/base/base.gguf')
  writeFileSync(join(root, 'train.jsonl'), '{}\n')
  const yaml = `kind: sft\nbase: ${base}\ntrain: train.jsonl\noutput_dir: ${folder}\nmax_length: 512\n`
  return { folder, refusal: () => refuseOccupied(checkedRecipe(yaml, join(root, 'sft.yaml'), 'sft')) }
}

test('the folder of a run that was killed before its first checkpoint may be had', () => {
  const { folder, refusal } = begunBy(spawnSync(process.execPath, ['-e', '']).pid)
  expect(occupied(folder)).toBe(false)
  expect(refusal).not.toThrow()
})

test('the folder of a run that has no checkpoint yet may not, and the refusal names its process', () => {
  const { folder, refusal } = begunBy(living.pid!)
  expect(occupied(folder)).toBe(true)
  expect(refusal).toThrow(`sft.yaml:4: output_dir: "${folder}": is being written by process ${living.pid};`)
})

test('what a run has made is kept', () => {
  const { folder, refusal } = begunBy(spawnSync(process.execPath, ['-e', '']).pid)
  writeFileSync(join(folder, 'adapter.gguf'), '')
  expect(occupied(folder)).toBe(true)
  expect(refusal).toThrow('already holds a run; continue it with "reasonsmith resume ')
})
