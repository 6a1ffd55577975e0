/** Samples that are left out: one sentence each for the terminal, a line each in a file. */
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { keepLeftOut, leftOutWords } from '../../../src/main/training/left-out.ts'

const folder = mkdtempSync(join(tmpdir(), 'left-out-'))
afterAll(() => rmSync(folder, { recursive: true }))

const long = (line: number) => ({ file: 't.jsonl', line, tokens: 2000 + line, reason: 'longer than max_length 2000' })
const bad = (line: number) => ({ file: 't.jsonl', line, reason: 'empty thought' })

test('hundreds of long samples are one sentence with their number, the limit and the first three places', () => {
  const some = Array.from({ length: 300 }, (_, i) => long(i + 1))
  expect(leftOutWords('t.jsonl', [...some, bad(400)], 500, 2000)).toEqual([
    't.jsonl: 300 of 500 samples are longer than max_length 2000 tokens and left out whole: line 1 (2001 tokens), line 2 (2002 tokens), line 3 (2003 tokens) and 297 more; all are listed in left-out.jsonl',
    't.jsonl: 1 of 500 samples are malformed and left out: line 400 (empty thought); all are listed in left-out.jsonl'
  ])
  expect(leftOutWords('t.jsonl', [], 500, 2000)).toEqual([])
})

test('the file has every one of them; where there are none there is no file', () => {
  keepLeftOut(folder, [])
  expect(existsSync(join(folder, 'left-out.jsonl'))).toBe(false)
  keepLeftOut(folder, [long(7), bad(9)])
  const lines = readFileSync(join(folder, 'left-out.jsonl'), 'utf8').trimEnd().split('\n')
  expect(lines.map((line) => JSON.parse(line) as unknown)).toEqual([long(7), bad(9)])
  expect(readdirSync(folder)).toEqual(['left-out.jsonl'])
})
