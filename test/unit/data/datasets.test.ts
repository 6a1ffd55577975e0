import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { containerOf, readRows } from '../../../src/main/data/datasets/containers.ts'
import { convertRow, detectFormat, mappingFor } from '../../../src/main/data/datasets/formats.ts'
import type { Format } from '../../../src/main/data/datasets/formats.ts'

const folder = mkdtempSync(join(tmpdir(), 'datasets-'))
afterAll(() => rmSync(folder, { recursive: true }))

async function read(name: string, text: string | Uint8Array): Promise<{ container: string; rows: unknown[] }> {
  const path = join(folder, name)
  writeFileSync(path, text)
  const rows: unknown[] = []
  for await (const row of readRows(path)) rows.push(row)
  return { container: containerOf(path), rows }
}

describe('containers', () => {
  test('JSONL: blank lines pass, bad ones are named by their line', async () => {
    const { container, rows } = await read('a.jsonl', '\uFEFF{"a":1}\n\n{"a":\n[1]\n{"a":2}\r\n')
    expect(container).toBe('jsonl')
    expect(rows).toEqual([
      { line: 1, row: { a: 1 } },
      { line: 3, problem: expect.stringMatching(/^not JSON: /) },
      { line: 4, problem: 'not a row of named values' },
      { line: 5, row: { a: 2 } }
    ])
  })
  test.each([
    ['a list', '[{"a":1},{"a":2}]'],
    ['a list within', '{"version":1,"data":[{"a":1},{"a":2}]}']
  ])('JSON: %s', async (_what, text) => {
    const { container, rows } = await read('b.json', text)
    expect([container, rows]).toEqual([
      'json',
      [
        { line: 1, row: { a: 1 } },
        { line: 2, row: { a: 2 } }
      ]
    ])
  })
  test('JSON: one conversation is one row', async () =>
    expect((await read('c.json', '{"messages":[{"role":"user"}]}')).rows).toHaveLength(1))
  test('JSONL under the name .json is found out', async () =>
    expect((await read('d.json', '{"a":1}\n{"a":2}\n')).container).toBe('jsonl'))
  test('CSV: quotes, line breaks in cells, too many cells', async () => {
    const { rows } = await read('e.csv', 'q,a\n"1, or\n""2""",x\n3,4,5\n')
    expect(rows).toEqual([
      { line: 2, row: { q: '1, or\n"2"', a: 'x' } },
      { line: 4, problem: '1 more cells than the head has columns' }
    ])
  })
  test('CSV: a row is named by the line it begins at, whatever stands before it', async () => {
    const { rows } = await read('g.csv', '\uFEFFq,a,a\r\n\r\n"one\r\ntwo\r\nthree",1,x\r\n , ,\r\nlast,2,y\r\n')
    expect(rows).toEqual([
      { line: 3, row: { q: 'one\r\ntwo\r\nthree', a: '1', a_1: 'x' } },
      { line: 7, row: { q: 'last', a: '2', a_1: 'y' } }
    ])
  })
  test('CSV: a quote that is never closed is named by its line, and so is one that is not doubled', async () => {
    const open = await read('h.csv', 'q,a\n1,2\n"3,4\n5,6\n7,8\n')
    expect(open.rows).toEqual([
      { line: 2, row: { q: '1', a: '2' } },
      { line: 3, problem: expect.stringMatching(/never closed/) }
    ])
    const single = await read('i.csv', 'q,a\n1,2\n"he said "no" to it",4\n5,6\n')
    expect(single.rows).toContainEqual({ line: 3, problem: expect.stringMatching(/not doubled/) })
  })
  test('CSV: a cell without an end is refused long before the whole file is one cell', async () => {
    const rest = 'What is one and one?,2\n'.repeat(400_000)
    await expect(read('j.csv', `q,a\n1,2\n3,"4\n${rest}`)).rejects.toThrow('line 3: a cell has no end')
  })
  test('CSV: many rows come in order, also to one who takes his time', async () => {
    const { rows } = await read('k.csv', `q,a\n${Array.from({ length: 20_000 }, (_, i) => `${i},"${i}\n"`).join('\n')}`)
    expect(rows).toHaveLength(20_000)
    expect(rows.at(-1)).toEqual({ line: 2 + 2 * 19_999, row: { q: '19999', a: '19999\n' } })
    const first: unknown[] = []
    for await (const row of readRows(join(folder, 'k.csv'))) {
      if (first.push(row) > 2500) break
      if (first.length % 500 === 0) await new Promise((turn) => setTimeout(turn, 5))
    }
    expect(first.at(-1)).toMatchObject({ line: 2 + 2 * 2500 })
  })
  test.each([
    ['nothing', '', /is empty/],
    ['a picture', Buffer.from([0x89, 0x50, 0, 1, 2]), /is no text file/],
    ['prose', 'Dear reader,', /no form that is known/],
    ['half a parquet', 'PAR1 but no more', /cannot be read as Parquet/],
    ['broken JSON', '[{"a":1},', /is not JSON/]
  ])('%s is refused in words', async (_what, text, words) => await expect(read('f.bin', text)).rejects.toThrow(words))
})

const turn = (role: string, content: string) => ({ role, content })
const THOUGHT = '<think>one and one is two</think>2'
const ROWS: Readonly<Record<string, { format: Format; row: Record<string, unknown>; body: unknown }>> = {
  messages: {
    format: 'messages',
    row: { messages: [turn('user', '1+1'), turn('assistant', THOUGHT)] },
    body: { messages: [turn('user', '1+1'), turn('assistant', THOUGHT)] }
  },
  'messages as text': {
    format: 'messages',
    row: { conversations: JSON.stringify([turn('user', '1+1'), turn('assistant', THOUGHT)]) },
    body: { messages: [turn('user', '1+1'), turn('assistant', THOUGHT)] }
  },
  sharegpt: {
    format: 'sharegpt',
    row: { system: 'be brief', conversations: [{ from: 'human', value: '1+1' }, { from: 'gpt', value: THOUGHT }] }, // prettier-ignore
    body: { messages: [turn('system', 'be brief'), turn('user', '1+1'), turn('assistant', THOUGHT)] }
  },
  alpaca: {
    format: 'alpaca',
    row: { instruction: 'Add', input: '1+1', output: THOUGHT },
    body: { messages: [turn('user', 'Add\n\n1+1'), turn('assistant', THOUGHT)] }
  },
  'prompt and completion': {
    format: 'prompt_completion',
    row: { Question: '1+1', reasoning: 'one and one is two', response: '2' },
    body: { messages: [turn('user', '1+1'), { ...turn('assistant', '2'), reasoning_content: 'one and one is two' }] }
  },
  'prompt and solution': {
    format: 'prompt_solution',
    row: { problem: '1+1', answer: 2 },
    body: { prompt: '1+1', solution: '2' }
  },
  gsm8k: {
    format: 'gsm8k',
    row: { question: '1+1', answer: 'one and one <<1+1=2>>2\n#### 2' },
    body: { question: '1+1', answer: 'one and one <<1+1=2>>2\n#### 2' }
  }
}

describe('formats', () => {
  test.each(Object.keys(ROWS))('%s is found out and kept', (name) => {
    const { format, row, body } = ROWS[name]!
    const guess = detectFormat(Object.keys(row), [row])
    expect(guess.format).toBe(format)
    expect(convertRow(row, format, guess.mapping)).toEqual({ body })
  })
  test('unknown columns are said, not guessed at', () =>
    expect(detectFormat(['x', 'y'], [{ x: 1, y: 2 }])).toMatchObject({
      format: null,
      why: expect.stringContaining('x, y')
    }))
  test('a mapping by hand plays the parts', () =>
    expect(convertRow({ x: '1+1', y: '2' }, 'prompt_solution', { prompt: 'x', solution: 'y' })).toEqual({
      body: { prompt: '1+1', solution: '2' }
    }))
  test.each([
    ['alpaca', { instruction: 'a', output: 'no thought' }, /0 <think> and 0 <\/think>/],
    ['alpaca', { instruction: ' ', output: THOUGHT }, /no instruction/],
    ['sharegpt', { conversations: [{ from: 'martian', value: 'x' }] }, /"martian" is no speaker/],
    ['messages', { messages: [turn('assistant', THOUGHT)] }, /does not follow a user/],
    ['gsm8k', { question: 'q', answer: 'no mark' }, /####/],
    ['prompt_solution', { prompt: 'q', answer: null }, /no solution/]
  ] as const)('%s: a row that cannot be used says why', (format, row, why) => {
    const mapping = mappingFor(format, Object.keys(row))!
    expect(convertRow(row, format, mapping)).toMatchObject({ problem: expect.stringMatching(why) })
  })
})
