/** What a card says of data and scores, read from files. */
import { createHash } from 'node:crypto'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { stringify } from 'yaml'
import { EvaluateRecipe, GrpoRecipe } from '../../../src/shared/recipe.ts'
import { keepResults } from '../../../src/main/evaluation/run-files.ts'
import { dataFacts, fileFacts, lastEvaluation, scoreFacts } from '../../../src/main/training/export-facts.ts'
import { openRunLog } from '../../../src/main/training/run-log.ts'

const folder = mkdtempSync(join(tmpdir(), 'export-facts-'))
afterAll(() => rmSync(folder, { recursive: true }))
const file = (name: string, text: string): string => {
  writeFileSync(join(folder, name), text)
  return join(folder, name)
}

test.each([
  ['', 0],
  ['{}', 1],
  ['{}\n{}\n', 2],
  ['{}\r\n\r\n  \n{}', 2]
])('counts the lines with something in them: %j', async (text, lines) => {
  const facts = await fileFacts(file('some.jsonl', text))
  const sha256 = createHash('sha256').update(text).digest('hex')
  expect(facts).toEqual({ name: 'some.jsonl', bytes: text.length, sha256, lines })
})

test('files, files that are gone, generated families', async () => {
  const tasks = file('tasks.jsonl', '{}\n')
  const family = { family: 'chain', difficulty: [1, 2], count: 9, seed: 3 } as const
  const recipe = GrpoRecipe.parse({
    kind: 'grpo',
    base: 'b.gguf',
    output_dir: 'x',
    tasks: [{ file: tasks }, family],
    held_out: [{ file: join(folder, 'gone.jsonl') }]
  })
  expect(await dataFacts(recipe)).toMatchObject([
    { role: 'tasks', name: 'tasks.jsonl', facts: { lines: 1 } },
    { role: 'tasks', family },
    { role: 'held_out', name: 'gone.jsonl', facts: null }
  ])
})

test('the last evaluation of a run', () => {
  const run = join(folder, 'run')
  expect(lastEvaluation(run)).toBeUndefined()
  const log = openRunLog(run)
  for (const [step, loss] of [[1, 2] as const, [5, 0.5] as const])
    log.emit({ kind: 'evaluation', step, metrics: { loss } })
  log.close()
  expect(lastEvaluation(run)).toMatchObject({ step: 5, metrics: { loss: 0.5 } })
})

test('scores of an evaluation, with the stage of this adapter', () => {
  const evaluation = join(folder, 'evaluation')
  mkdirSync(evaluation)
  const adapter = file('adapter.gguf', '')
  const recipe = EvaluateRecipe.parse({
    kind: 'evaluate',
    base: 'b.gguf',
    output_dir: evaluation,
    policies: [{ name: 'base' }, { name: 'taught', adapter }],
    tasksets: [{ name: 'sums', tasks: [{ family: 'arithmetic' }] }]
  })
  writeFileSync(join(evaluation, 'recipe.yaml'), stringify(recipe))
  expect(() => scoreFacts(evaluation, [adapter])).toThrow(/nothing to report yet|no measured answers/)
  const item = (taskId: string, correct: boolean) => ({
    taskId,
    runs: [{ correct, length: 5, stop: 'eos' as const, verdict: correct ? ('correct' as const) : ('wrong' as const) }]
  })
  keepResults(evaluation, {
    results: [
      { stage: 'base', taskset: 'sums', items: [item('a', false), item('b', false)] },
      { stage: 'taught', taskset: 'sums', items: [item('a', true), item('b', false)] }
    ],
    traces: []
  })
  const { from, rows, own } = scoreFacts(evaluation, [adapter])
  expect({ from, own }).toEqual({ from: 'evaluation', own: 'taught' })
  expect(rows.map(({ stage, mean }) => [stage, mean])).toEqual([
    ['base', 0],
    ['taught', 0.5]
  ])
  expect(scoreFacts(evaluation, ['/elsewhere.gguf']).own).toBeUndefined()
  expect(() => scoreFacts(join(folder, 'nowhere'), [])).toThrow(/no such run/)
})
