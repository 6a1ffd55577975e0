import { existsSync, readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { gsm8kTrace } from '../../../src/main/reasoning/tasks/gsm8k.ts'
import { readTasks } from '../../../src/main/reasoning/tasks/index.ts'
import { BRIEF_SYSTEM_MESSAGE, REASONING_SYSTEM_MESSAGE } from '../../../src/main/reasoning/prompts.ts'
import { judge } from '../../../src/main/reasoning/verdict.ts'
import { AppError } from '../../../src/shared/errors.ts'

const lines = (...rows: readonly unknown[]): string =>
  rows.map((row) => (typeof row === 'string' ? row : JSON.stringify(row))).join('\n')
const read = (text: string, format?: string) =>
  readTasks(text, format === undefined ? { source: 'file' } : { source: 'file', format })

const eggs = {
  question: 'How many eggs are left?',
  answer:
    'There are 1,000 + 16 = <<1000+16=1016>>1,016 eggs.\nShe eats 16: 1,016 - 16 = <<1016-16=1000>>1,000.\n#### 1,000'
}

describe('readTasks', () => {
  it('reads GSM8K with its worked solution as a trace', () => {
    const [row] = read(lines(eggs)).rows
    expect(row?.task).toMatchObject({
      source: 'file',
      prompt: eggs.question,
      solution: '1000',
      check: { kind: 'equal' }
    })
    expect(row?.worked).toEqual({
      thinking: 'There are 1,000 + 16 = 1,016 eggs.\nShe eats 16: 1,016 - 16 = 1,000.',
      answer: 'The answer is \\boxed{1000}.'
    })
    expect(judge(row!.task, row!.worked!.answer)).toEqual({ kind: 'correct' })
    expect(gsm8kTrace('#### 5')).toBeNull()
  })

  it.each([
    ['svamp', { Body: 'He has 3 pens', Question: 'How many?', Answer: 3.0 }, 'He has 3 pens. How many?', '3'],
    ['svamp', { Body: 'He has 3 pens.', Question: 'How many?', Answer: 3.5 }, 'He has 3 pens. How many?', '3.5'],
    ['multiarith', { input: 'How many?', target: 39 }, 'How many?', '39'],
    ['prompt_solution', { prompt: 'Half of 1?', solution: '1/2' }, 'Half of 1?', '1/2'],
    ['prompt_solution', { prompt: 'Half of 8?', solution: 4 }, 'Half of 8?', '4'],
    ['prompt_solution', { problem: 'Find it.', solution: 'long text', answer: '204' }, 'Find it.', '204'],
    ['prompt_solution', { question: 'Find it.', answer: '204' }, 'Find it.', '204'],
    ['gsm8k', eggs, eggs.question, '1000']
  ])('reads %s, asked for or found out', (format, row, prompt, solution) => {
    for (const asked of [format, 'auto', undefined]) {
      expect(read(lines(row), asked).rows[0]?.task).toMatchObject({ prompt, solution })
    }
  })

  it('lists what is no task with line and reason, and keeps the rest', () => {
    const file = read(
      lines(
        eggs,
        '',
        '{"question": "cut',
        '[1]',
        'null',
        { question: 'Q' },
        { question: 'Q', answer: 'no number' },
        { question: 'Q', answer: '#### many' },
        { question: ' ', answer: '#### 1' },
        { ...eggs, question: 'Other?' }
      )
    )
    expect(file.rows.map(({ line }) => line)).toEqual([1, 10])
    expect(file.rejections.map(({ line }) => line)).toEqual([3, 4, 5, 6, 7, 8, 9])
    expect(file.rejections.map(({ why }) => why.replace(/bad JSON.*/, 'bad JSON'))).toEqual([
      'bad JSON',
      'not a JSON object',
      'not a JSON object',
      'no answer',
      'the answer has no line `#### N`',
      '"many" is not a number',
      'no question'
    ])
  })

  it('gives a repeated prompt an id of its own, and the same id in every reading', () => {
    const ids = read(lines(eggs, eggs)).rows.map(({ task }) => task.id)
    expect(ids[1]).toBe(`${ids[0]}~2`)
    expect(read(`\ufeff${lines(eggs)}\r\n`).rows[0]?.task.id).toBe(ids[0])
  })

  it.each([
    ['', 'file is empty'],
    [' \n\n', 'file is empty'],
    ['{', 'file holds no task; line 1: bad JSON'],
    ['{"a":1}', 'file holds no task; line 1: no prompt'],
    ['{"__proto__":{"prompt":"p","solution":"1"}}', 'file holds no task'],
    ['{"prompt":"p","solution":"1/0"}', 'line 1: the solution cannot be read: division by zero']
  ])('%j is an error: %s', (text, message) => {
    expect(() => read(text)).toThrow(message)
    expect(() => read(text)).toThrow(AppError)
  })
  it('refuses an unknown format', () => expect(() => read(lines(eggs), 'constructor')).toThrow(/no format is called/))
})

const data = new URL('../../../../shared/data/', import.meta.url)
describe.skipIf(!existsSync(data))('the real files (skipped where ../shared/data is absent)', () => {
  it.each([
    ['gsm8k-train', 7473],
    ['gsm8k-test', 1319],
    ['svamp', 1000],
    ['multiarith', 600],
    ['aime24', 30]
  ] as const)('%s: %i tasks, none rejected', (name, count) => {
    const file = readTasks(readFileSync(new URL(`${name}.jsonl`, data), 'utf8'), { source: name })
    expect(file.rejections).toEqual([])
    expect(file.rows).toHaveLength(count)
    const misjudged = file.rows.filter(
      ({ task, worked }) =>
        judge(task, `\\boxed{${task.solution}}`).kind !== 'correct' ||
        (name.startsWith('gsm8k') && judge(task, worked?.answer ?? '').kind !== 'correct') ||
        /<<|>>|####/.test(worked?.thinking ?? '')
    )
    expect(misjudged).toEqual([])
  })
})

describe('the system messages', () => {
  it('name both tags once and stay short', () => {
    expect(REASONING_SYSTEM_MESSAGE.match(/<\/?think>/g)).toEqual(['<think>', '</think>'])
    expect(REASONING_SYSTEM_MESSAGE.length).toBeLessThan(600)
    expect(BRIEF_SYSTEM_MESSAGE).not.toMatch(/[<>]/)
  })
})
