import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { writeWholeFile } from '../../src/main/files/whole-file.ts'

const folder = mkdtempSync(join(tmpdir(), 'whole-'))
afterAll(() => rmSync(folder, { recursive: true }))

const failing = (code: string): (() => never) => {
  return () => {
    throw Object.assign(new Error(`${code}: something, write`), { code })
  }
}

test.each([
  ['ENOSPC', /a\.txt could not be written: no space left on the disk$/],
  ['EFBIG', /a\.txt could not be written: the file system allows no file of this size$/],
  ['ENOENT', /a\.txt could not be written: no such folder$/],
  ['EODD', /a\.txt could not be written: EODD: something, write$/]
])('%s: a file that cannot be written says why and leaves nothing', (code, message) => {
  const path = join(folder, 'a.txt')
  const write = (temporary: string): void => {
    writeFileSync(temporary, 'half')
    failing(code)()
  }
  expect(() => writeWholeFile(path, write)).toThrow(
    expect.objectContaining({ code: 'disk', message: expect.stringMatching(message) as string }) as Error
  )
  expect(readdirSync(folder)).toEqual([])
})

test('what no system refused says only that', () => {
  const path = join(folder, 'b.txt')
  const write = (): never => {
    throw new Error('ggml says no')
  }
  expect(() => writeWholeFile(path, write)).toThrow(/b\.txt could not be written$/)
})

test('a place that is taken by a folder', () => {
  const path = join(folder, 'taken')
  mkdirSync(path)
  expect(() => writeWholeFile(path, (temporary) => writeFileSync(temporary, 'all'))).toThrow(
    /taken could not be written: ./
  )
  expect(readdirSync(folder)).toEqual(['taken'])
})
