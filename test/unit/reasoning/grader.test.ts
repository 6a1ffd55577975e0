import { describe, expect, it } from 'vitest'
import { extractAime, extractAnswer } from '../../../src/main/reasoning/answer.ts'
import { judge } from '../../../src/main/reasoning/verdict.ts'
import type { Task } from '../../../src/shared/task.ts'
import { GRADER_ROWS } from './grader-rows.ts'

const task = (solution: string): Task => ({ id: 't', source: 't', prompt: 'p', solution, check: { kind: 'equal' } })

describe('the grader', () => {
  it('has at least 300 rows, none twice', () => {
    expect(GRADER_ROWS.length).toBeGreaterThanOrEqual(300)
    expect(new Set(GRADER_ROWS.map((row) => row.slice(0, 2).join('\u0000'))).size).toBe(GRADER_ROWS.length)
  })

  it.each(GRADER_ROWS.map((row, i) => [i + 1, ...row] as const))(
    'row %i: gold %j, answer %j is %s',
    (_i, gold, text, expected) => {
      const verdict = judge(task(gold), text)
      expect(verdict.kind === 'unreadable' ? `unreadable: ${verdict.why}` : verdict.kind).toMatch(
        new RegExp(`^${expected}`)
      )
    }
  )

  it.each([
    ['a million digits', `\\boxed{${'9'.repeat(1e6)}}`],
    ['a million braces', `\\boxed${'{'.repeat(1e6)}`],
    ['deep braces', `\\boxed{${'{'.repeat(400)}7${'}'.repeat(400)}}`],
    ['deep brackets', `\\boxed{${'('.repeat(400)}7${')'.repeat(400)}}`],
    ['a million boxes', '\\boxed{'.repeat(1e5)],
    ['a million spaces', `the answer is${' '.repeat(1e6)}`],
    ['many commas', `\\boxed{${'1,'.repeat(490)}1}`],
    ['many phrases', 'the answer is '.repeat(5e4)],
    ['many digits and separators', `\\boxed{${'1,111'.repeat(190)}x}`],
    ['many minus signs', `\\boxed{${'-'.repeat(900)}1}`],
    ['many fractions', `\\boxed{${'\\frac{1}{'.repeat(90)}}`],
    ['a tower', '\\boxed{9^{9^{9^{9}}}}'],
    ['a tower without braces', '\\boxed{9^9^9^9}'],
    ['a large exponent', '\\boxed{7^{99999999}}'],
    ['many words', `\\boxed{12 ${'a '.repeat(480)}}`],
    ['many dots', `the answer is 1${'.'.repeat(10000)}`],
    ['null characters', '\\boxed{\u0000\u0000}'],
    ['lone surrogates', '\\boxed{\ud800}']
  ])('answers %s quickly and without throwing', (_what, text) => {
    const started = performance.now()
    expect(judge(task('12'), text).kind).not.toBe('correct')
    expect(performance.now() - started).toBeLessThan(500)
  })
})

describe('extractAnswer', () => {
  it.each([
    ['\\boxed{7}, final answer: 8', 'boxed', '7'],
    ['Final Answer: 8. The answer is 9', 'final answer', '8'],
    ['the answer is 9\n#### 10', 'answer phrase', '9'],
    ['so\n#### 1,234', 'hashes', '1,234'],
    ['12 apples', 'plain', '12 apples']
  ])('%j is found by %s', (text, by, raw) => {
    expect(extractAnswer(text)).toMatchObject({ kind: 'answer', by, raw })
  })
  it('takes the last number only when asked to', () => {
    expect(extractAnswer('She makes 9 * 2 = $18 every day.').kind).toBe('unreadable')
    expect(extractAnswer('She makes 9 * 2 = $18 every day.', { lenient: true })).toMatchObject({
      by: 'last number',
      raw: '18'
    })
    expect(extractAnswer('no number', { lenient: true }).kind).toBe('unreadable')
  })
})

/** paper-facts 5.1. */
describe('the AIME rule', () => {
  it.each([
    ['Final Answer: 204', 204],
    ['Final Answer: [204]', 204],
    ['Final Answer: $1,024', 1024],
    ['Final Answer: 25%', 0.25],
    ['Final Answer:\n\n033', 33],
    ['Final Answer: 12.50', 12.5],
    ['Final Answer: -5', -5],
    ['Final Answer: 1 … Final Answer: 2', 1],
    ['Final Answer: 10 or Final Answer: [11]', 10],
    ['**Final Answer:** 204', null],
    ['Final Answer: \\boxed{204}', null],
    ['final answer: 7', null],
    ['answer is 5', null],
    ['Final Answer: ,', null]
  ])('%j gives %s', (text, expected) => {
    expect(extractAime(text)).toBe(expected)
  })
})
