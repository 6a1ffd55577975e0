import { appendFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { appendAnswers, blocksOf, keptAnswers, readAnswers } from '../../../src/main/evaluation/answers.ts'
import type { Answer } from '../../../src/main/evaluation/answers.ts'
import type { ReportData } from '../../../src/main/evaluation/report/data.ts'
import { answerMetrics, stageResults, summaryLines, typicalTraces } from '../../../src/main/evaluation/results.ts'
import { normalForm } from '../../../src/main/reasoning/normal-form.ts'
import { readValue } from '../../../src/main/reasoning/value.ts'
import type { Task } from '../../../src/shared/task.ts'

const answer = (
  policy: string,
  taskId: string,
  run: number,
  verdict: Answer['verdict'],
  more: Partial<Answer> = {}
): Answer => ({
  policy,
  taskset: 'set',
  run,
  taskId,
  verdict,
  answer: verdict === 'unreadable' ? null : '1',
  length: 10,
  stop: 'eos',
  text: 'x',
  ...more // prettier-ignore
})
const task = (id: string): Task => ({ id, source: 's', prompt: `${id}?`, solution: '1', check: { kind: 'equal' } })

/** c correct, w wrong, u unreadable: one letter per task, one word per policy. */
const verdicts = (words: Readonly<Record<string, string>>): Answer[] =>
  Object.entries(words).flatMap(([policy, word]) =>
    [...word].map((letter, i) =>
      answer(policy, `t${i}`, 0, letter === 'c' ? 'correct' : letter === 'w' ? 'wrong' : 'unreadable')
    )
  )

test('answers become stages of items of runs', () => {
  const rows = [0, 1].flatMap((run) =>
    ['a', 'b'].map((id) => answer('base', id, run, run === 0 ? 'correct' : 'wrong', { length: run }))
  )
  const [result] = stageResults(rows)
  expect(result).toEqual({
    stage: 'base',
    taskset: 'set',
    items: ['a', 'b'].map((taskId) => ({
      taskId,
      runs: [
        { correct: true, length: 0, stop: 'eos', verdict: 'correct', answer: '1' },
        { correct: false, length: 1, stop: 'eos', verdict: 'wrong', answer: '1' }
      ]
    }))
  })
})

test('metrics of answers; a verdict that does not occur has no length', () => {
  const rows = [
    answer('p', 'a', 0, 'correct', { length: 4 }),
    answer('p', 'b', 0, 'unreadable', { length: 8, stop: 'length' })
  ]
  expect(answerMetrics(rows)).toEqual({
    accuracy: 0.5,
    unreadable: 0.5,
    'completions/mean_length': 6,
    'completions/clipped_ratio': 0.5,
    'completions/mean_length/correct': 4,
    'completions/mean_length/unreadable': 8
  })
})

describe('traces', () => {
  const tasks = Array.from({ length: 6 }, (_, i) => task(`t${i}`))
  test('show one task of each of the most frequent outcomes', () => {
    const rows = verdicts({ base: 'wwwwcw', tuned: 'wcccww' })
    const traces = typicalTraces(rows, [{ name: 'set', tasks }])
    expect(traces.map(({ taskId }) => taskId)).toEqual(['t1', 't0', 't4']) // three were gained, two stayed wrong, one was lost
    expect(traces[0]!.stages.map(({ stage, verdict }) => `${stage} ${verdict}`)).toEqual([
      'base wrong',
      'tuned correct'
    ])
  })
  test('fill up from the largest group, and never repeat', () => {
    const traces = typicalTraces(verdicts({ base: 'cc' }), [{ name: 'set', tasks }])
    expect(traces.map(({ taskId }) => taskId)).toEqual(['t0', 't1'])
  })
  test('take thought and answer apart where they can', () => {
    const rows = [
      answer('a', 't0', 0, 'correct', { text: '<think>hm</think>4' }),
      answer('b', 't0', 0, 'unreadable', { text: '<think>hm', why: 'no answer found' })
    ]
    const [whole, cut] = typicalTraces(rows, [{ name: 'set', tasks }])[0]!.stages
    expect(whole).toMatchObject({ thinking: 'hm', answer: '4', verdict: 'correct' })
    expect(cut).toMatchObject({
      thinking: null,
      answer: null,
      text: '<think>hm',
      verdict: 'unreadable (no answer found)'
    })
  })
})

test('the summary says accuracies with intervals, and tests in words', () => {
  const rows = verdicts({ base: 'w'.repeat(12), tuned: 'c'.repeat(11) + 'u' })
  const data = { stages: [{ name: 'base' }, { name: 'tuned' }], results: stageResults(rows) } as unknown as ReportData
  expect(summaryLines(data)).toEqual([
    'set, 12 tasks × 1 runs',
    '  base    0.0 % (0.0 to 24.2 at 95 %), 10 tokens, 0.0 % cut off, 0.0 % unreadable',
    '  tuned  91.7 % (64.6 to 98.5 at 95 %), 10 tokens, 0.0 % cut off, 8.3 % unreadable',
    expect.stringMatching(/^ {2}tuned is 91\.7 points better than base \(.*p = 0\.00098, 12 tasks\)\.$/) as string
  ])
})

test.each([
  ['1,000', '1000'],
  ['1000.0', '1000'],
  ['\\frac{2}{4}', '1/2'],
  ['0.5', '1/2'],
  ['50%', '50%'],
  ['(1, 2.0)', '(1, 2)'],
  ['x+1', 'x+1']
])('%s votes as %s', (text, vote) => {
  const value = readValue(text)
  expect(value.kind === 'unreadable' ? null : normalForm(value)).toBe(vote)
})

describe('kept answers', () => {
  let path: string
  let folder: string
  beforeEach(() => (path = join((folder = mkdtempSync(join(tmpdir(), 'answers-'))), 'answers.jsonl')))
  afterEach(() => rmSync(folder, { recursive: true }))

  const questions = ['a', 'b', 'c'].map((id) => ({ task: task(id), prompt: new Int32Array() }))
  const blocks = blocksOf([{ name: 'p' }], [{ name: 'set', questions }], 2, 4)
  const rows = [0, 1].flatMap((run) => ['a', 'b', 'c'].map((id) => answer('p', id, run, 'correct')))

  test('are cut into blocks run by run', () => {
    expect(
      blocks.map(({ from, asked }) => [from, asked.map(({ run, question }) => `${run}${question.task.id}`).join()])
    ).toEqual([
      [0, '0a,0b,0c,1a'],
      [4, '1b,1c']
    ])
  })

  test('of no file are none', () => expect(keptAnswers(path, blocks)).toEqual([]))

  test.each([
    ['all', 6, '', 6],
    ['a whole block', 5, '', 4],
    ['a torn line', 4, '{"policy":"p","tas', 4],
    ['less than a block', 3, '', 0],
    ['a foreign line', 4, '{}\n', 4],
    ['a line that is no JSON', 5, 'x\n', 4]
  ])('%s: the whole blocks stay, the rest is cut off', (_, there, extra, kept) => {
    appendAnswers(path, rows.slice(0, there))
    appendFileSync(path, extra)
    expect(keptAnswers(path, blocks)).toEqual(rows.slice(0, kept))
    expect(readAnswers(path)).toEqual(rows.slice(0, kept))
    expect(readFileSync(path, 'utf8')).toMatch(/^$|\n$/)
  })

  test('of another plan are none', () => {
    writeFileSync(path, rows.map((row) => JSON.stringify({ ...row, taskset: 'other' }) + '\n').join(''))
    expect(keptAnswers(path, blocks)).toEqual([])
    expect(readFileSync(path, 'utf8')).toBe('')
  })
})
