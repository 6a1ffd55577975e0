import { expect, test } from 'vitest'
import type { AppError } from '../../../src/shared/errors.ts'
import { workedTraces } from '../../../src/main/data/prepare/traces.ts'

const row = (n: number): string => JSON.stringify({ question: `What is ${n} + 1?`, answer: `One more.\n#### ${n + 1}` })
const error = (work: () => unknown): AppError => {
  try {
    work()
  } catch (thrown) {
    return thrown as AppError
  }
  throw new Error('nothing was thrown')
}

test('worked solutions become traces, some left out first and no more than asked for', () => {
  const text = [row(1), row(2), row(3)].join('\n')
  const traces = workedTraces(text, { file: 'tasks.jsonl', skip: 1, limit: 1 })
  expect(traces).toHaveLength(1)
  expect(traces[0]!.prompt).toContain('2 + 1')
})

test('a line that is no task is named, never left out in silence', () => {
  const { code, message } = error(() =>
    workedTraces(`${row(1)}\n{"question":\n${row(3)}`, { file: 'data/tasks.jsonl' })
  )
  expect(code).toBe('data')
  expect(message).toMatch(/^data\/tasks\.jsonl:2: .*\(1 bad of 3 lines\)$/)
})

test('leaving out every task says so', () => {
  expect(error(() => workedTraces(row(1), { file: 'tasks.jsonl', skip: 5 })).message).toMatch(
    /no task is left after skip 5 of 1/
  )
})
