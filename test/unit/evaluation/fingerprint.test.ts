/** What an evaluation depends on: a base of the same size with other contents is another base. */
import {
  closeSync,
  mkdtempSync,
  openSync,
  renameSync,
  rmSync,
  truncateSync,
  utimesSync,
  writeFileSync,
  writeSync
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { fingerprintOf } from '../../../src/main/evaluation/fingerprint.ts'
import { EvaluateRecipe } from '../../../src/shared/recipe.ts'

const folder = mkdtempSync(join(tmpdir(), 'fingerprint-'))
afterAll(() => rmSync(folder, { recursive: true }))
const base = join(folder, 'base.gguf')
const adapter = join(folder, 'adapter.gguf')
const DATE = new Date('2026-01-01')

function of(more: object = {}): string {
  writeFileSync(adapter, 'an adapter')
  const recipe = EvaluateRecipe.parse({
    kind: 'evaluate',
    base,
    output_dir: 'o',
    policies: [{ name: 'one', adapter }],
    tasksets: [{ name: 't', tasks: [{ family: 'linear' }] }],
    ...more
  })
  return fingerprintOf(recipe)
}

/** Writes one byte and puts the old time back. */
function change(at: number): void {
  const file = openSync(base, 'r+')
  writeSync(file, 'X', at)
  closeSync(file)
  utimesSync(base, DATE, DATE)
}

test('a small base: every byte counts, its time and the run folder do not', () => {
  writeFileSync(base, Buffer.alloc(20_000_000, 'a'))
  utimesSync(base, DATE, DATE)
  const before = of()
  expect(of({ output_dir: 'elsewhere' })).toBe(before)
  expect(of({ seed: 1 })).not.toBe(before)
  utimesSync(base, new Date(), new Date())
  expect(of()).toBe(before)
  change(12_345_678)
  expect(of()).not.toBe(before)
})

test('a large base: its head, its sampled blocks, its size and its time count', () => {
  writeFileSync(base, '')
  truncateSync(base, 200 * 2 ** 20) // a file of holes
  utimesSync(base, DATE, DATE)
  const before = of()
  renameSync(base, `${base}.moved`)
  renameSync(`${base}.moved`, base)
  expect(of()).toBe(before)
  for (const at of [100, 200 * 2 ** 20 - 1]) {
    const now = of()
    change(at)
    expect(of()).not.toBe(now)
  }
  const now = of()
  utimesSync(base, new Date(), new Date())
  expect(of()).not.toBe(now)
})
