import * as fs from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import {
  bestCheckpoint,
  latestCheckpoint,
  openCheckpoint,
  pruneCheckpoints,
  recipeHash,
  writeCheckpoint
} from '../../../src/main/training/checkpoint.ts'
import type { CheckpointRecord } from '../../../src/main/training/checkpoint.ts'
import { AppError } from '../../../src/shared/errors.ts'
import { failingDisk } from './disk.fake.ts'

let folder: string
beforeEach(() => (folder = fs.mkdtempSync(join(tmpdir(), 'checkpoint-test-'))))
afterEach(() => fs.rmSync(folder, { recursive: true, force: true }))

const about = (step: number, score?: number): CheckpointRecord => ({
  step,
  recipeHash: recipeHash({ seed: 1 }),
  logBytes: 10 * step,
  metrics: { loss: 1 / (step + 1) },
  ...(score !== undefined && { score })
})
const files = (step: number): Map<string, Uint8Array | string> =>
  new Map<string, Uint8Array | string>([
    ['adapter.bin', Uint8Array.from({ length: 1000 }, (_, i) => (i * step) % 256)],
    ['cursor.json', `{"row": ${step}}`]
  ])
const write = (step: number, score?: number): string => writeCheckpoint(folder, about(step, score), files(step))
const names = (): string[] => fs.readdirSync(folder).sort()

test('what is written is read back, verified', () => {
  const path = write(7, 0.5)
  const { checkpoint, skipped } = latestCheckpoint(folder)
  expect(skipped).toEqual([])
  expect(checkpoint!.path).toBe(path)
  expect(checkpoint!.manifest).toMatchObject({ format: 1, ...about(7, 0.5) })
  expect([...checkpoint!.read('adapter.bin')]).toEqual([...(files(7).get('adapter.bin') as Uint8Array)])
  expect(checkpoint!.read('cursor.json').toString()).toBe('{"row": 7}')
  expect(() => checkpoint!.read('other')).toThrow('holds no other')
})

test('the newest step is the latest, by number and not by name', () => {
  for (const step of [9, 10, 100]) write(step)
  expect(latestCheckpoint(folder).checkpoint!.manifest.step).toBe(100)
  expect(latestCheckpoint(join(folder, 'none')).checkpoint).toBeUndefined()
})

test.each<[string, (path: string) => void, string]>([
  [
    'truncated file',
    (path) => fs.truncateSync(join(path, 'adapter.bin'), 999),
    'adapter.bin has 999 bytes instead of 1000'
  ],
  [
    'flipped byte',
    (path) => fs.writeFileSync(join(path, 'adapter.bin'), new Uint8Array(1000)),
    'adapter.bin is damaged'
  ],
  ['missing file', (path) => fs.rmSync(join(path, 'cursor.json')), 'cursor.json is missing'],
  ['missing manifest', (path) => fs.rmSync(join(path, 'manifest.json')), 'no readable manifest'],
  ['half a manifest', (path) => fs.truncateSync(join(path, 'manifest.json'), 40), 'no readable manifest'],
  [
    'another format',
    (path) => fs.writeFileSync(join(path, 'manifest.json'), '{"format": 2, "files": {}}'),
    'no readable manifest'
  ]
])('a broken newest one is skipped: %s', (_, damage, why) => {
  write(1)
  const path = write(2)
  damage(path)
  const { checkpoint, skipped } = latestCheckpoint(folder)
  expect(checkpoint!.manifest.step).toBe(1)
  expect(skipped).toEqual([{ path, why: `${path}: ${why}` }])
  expect(() => openCheckpoint(path)).toThrow(AppError)
})

test('leftovers of a killed write are ignored, then overwritten, then pruned', () => {
  write(1)
  fs.mkdirSync(join(folder, 'checkpoint-2.partial'))
  fs.writeFileSync(join(folder, 'checkpoint-2.partial', 'adapter.bin'), 'half')
  fs.mkdirSync(join(folder, 'checkpoint-3.partial'))
  expect(latestCheckpoint(folder).checkpoint!.manifest.step).toBe(1)
  write(2)
  expect(names()).toEqual(['checkpoint-1', 'checkpoint-2', 'checkpoint-3.partial'])
  pruneCheckpoints(folder, 5)
  expect(names()).toEqual(['checkpoint-1', 'checkpoint-2'])
})

test('the same step again replaces the first', () => {
  write(4)
  writeCheckpoint(folder, about(4), new Map([['cursor.json', 'new']]))
  expect(latestCheckpoint(folder).checkpoint!.read('cursor.json').toString()).toBe('new')
  expect(names()).toEqual(['checkpoint-4'])
})

test('a disk that fills up at any moment: one clear error, nothing half-written, the older one intact', () => {
  for (const again of [false, true]) {
    fs.rmSync(folder, { recursive: true, force: true })
    write(1)
    if (again) write(2)
    for (let nth = 1; ; nth++) {
      const { disk, calls } = failingDisk(nth)
      let failure: unknown
      try {
        writeCheckpoint(folder, about(2), files(2), disk)
      } catch (error) {
        failure = error
      }
      if (!failure && calls() < nth) break
      if (failure) {
        expect(failure).toBeInstanceOf(AppError)
        expect(failure).toMatchObject({
          code: 'disk',
          message: expect.stringContaining('no space left'),
          hint: expect.any(String)
        })
      }
      expect(names().filter((name) => name.includes('.'))).toEqual([])
      const { checkpoint, skipped } = latestCheckpoint(folder)
      expect(skipped).toEqual([])
      expect(checkpoint!.manifest.step).toBeGreaterThanOrEqual(again ? 2 : 1)
      if (!again) fs.rmSync(join(folder, 'checkpoint-2'), { recursive: true, force: true })
    }
  }
})

test('pruning keeps the newest and the best, and counts only complete ones', () => {
  write(1, 0.2)
  write(2, 0.9)
  write(3, 0.4)
  write(4, 0.9)
  fs.truncateSync(join(write(5, 1), 'adapter.bin'), 1)
  expect(bestCheckpoint(folder)!.manifest.step).toBe(2) // of equals the earlier; the broken one is none
  expect(pruneCheckpoints(folder, 1).map((path) => path.slice(folder.length + 1))).toEqual([
    'checkpoint-5',
    'checkpoint-3',
    'checkpoint-1'
  ])
  expect(names()).toEqual(['checkpoint-2', 'checkpoint-4'])
})

test('names are file names; numbers that JSON has not are left out', () => {
  expect(() => writeCheckpoint(folder, about(1), new Map([['../x', '']]))).toThrow('not a checkpoint file name')
  expect(names()).toEqual([])
  writeCheckpoint(folder, { ...about(1), metrics: { loss: NaN, kl: 1 } }, new Map())
  expect(latestCheckpoint(folder).checkpoint!.manifest.metrics).toEqual({ kl: 1 })
})

test('the recipe hash does not depend on the order of keys, but on values', () => {
  expect(recipeHash({ a: 1, b: { c: [1, 2], d: 3 } })).toBe(recipeHash({ b: { d: 3, c: [1, 2] }, a: 1 }))
  expect(recipeHash({ a: [1, 2] })).not.toBe(recipeHash({ a: [2, 1] }))
})

test('a large file comes in pieces, is found by its path and verified whole', () => {
  const piece = (from: number): Uint8Array => Uint8Array.from({ length: 5 * 2 ** 20 }, (_, i) => (from + i) % 251)
  const pieces = [piece(1), piece(7)]
  const path = writeCheckpoint(folder, about(5), new Map([['model.bin', () => pieces]]))
  const { checkpoint } = latestCheckpoint(folder)
  expect(checkpoint!.file('model.bin')).toBe(join(path, 'model.bin'))
  expect(checkpoint!.read('model.bin').equals(Buffer.concat(pieces))).toBe(true)
  expect(() => checkpoint!.file('other')).toThrow('holds no other')
  const bytes = fs.readFileSync(join(path, 'model.bin'))
  bytes[bytes.length - 1]! ^= 1 // beyond the first piece that is hashed
  fs.writeFileSync(join(path, 'model.bin'), bytes)
  expect(latestCheckpoint(folder).skipped[0]!.why).toContain('model.bin is damaged')
})

test('what fails while its pieces are made leaves nothing of the checkpoint', () => {
  const broken = function* (): Generator<Uint8Array> {
    yield new Uint8Array(3)
    throw new Error('the base is gone')
  }
  expect(() => writeCheckpoint(folder, about(6), new Map([['model.bin', broken]]))).toThrow('the base is gone')
  expect(fs.readdirSync(folder).filter((name) => name.includes('checkpoint-6'))).toEqual([])
})

test('damage of the same size is seen after a file was hashed, whatever its time says', () => {
  const adapter = join(write(1), 'adapter.bin')
  openCheckpoint(join(folder, 'checkpoint-1'))
  const { atime, mtime } = fs.statSync(adapter)
  fs.writeFileSync(adapter, new Uint8Array(1000).fill(9))
  fs.utimesSync(adapter, atime, mtime)
  expect(() => openCheckpoint(join(folder, 'checkpoint-1'))).toThrow('adapter.bin is damaged')
})

test.skipIf(!fs.existsSync('/proc/self/io'))('a file is hashed once for as long as it does not change', () => {
  const bytes = 4 * 2 ** 20
  writeCheckpoint(folder, about(1), new Map([['model.bin', new Uint8Array(bytes)]]))
  const read = (): number => Number(/^rchar: (\d+)/.exec(fs.readFileSync('/proc/self/io', 'utf8'))![1])
  const taken = (work: () => void): number => {
    const before = read()
    work()
    return read() - before
  }
  expect(taken(() => openCheckpoint(join(folder, 'checkpoint-1')))).toBeGreaterThan(bytes)
  expect(taken(() => pruneCheckpoints(folder, 1))).toBeLessThan(bytes / 4)
})
