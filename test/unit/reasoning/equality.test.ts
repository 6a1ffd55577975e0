import { afterAll, describe, expect, it } from 'vitest'
import { equalityProcess } from '../../../src/main/evaluation/equality-process.ts'
import { compareAnswers, compareAnswersWith, type Outcome } from '../../../src/main/reasoning/equality.ts'
import { explainJudgement, judgeWith } from '../../../src/main/reasoning/verdict.ts'
import type { Task } from '../../../src/shared/task.ts'

const task = (solution: string): Task => ({ id: 't', source: 't', prompt: 'p', solution, check: { kind: 'equal' } })

describe('the cascade explains itself', () => {
  it.each([
    ['12', '12', 'equal', ['text']],
    ['12', '12.0', 'equal', ['text', 'number']],
    ['12', '13', 'different', ['text', 'number']],
    ['(1,2)', '(1,4/2)', 'equal', ['text', 'list']],
    ['Tuesday', 'Monday', 'different', ['text', 'text']],
    ['x+1', '1+x', 'undecided', ['text']]
  ] as const)('%s and %s are %s', (gold, answer, outcome, steps) => {
    const comparison = compareAnswers(gold, answer)
    expect(comparison.outcome).toBe(outcome)
    expect(comparison.steps.map(({ step }) => step)).toEqual(steps)
    expect(comparison.steps.every(({ because }) => because !== '')).toBe(true)
  })

  it('asks the symbolic step only where nothing else decides, gold first', async () => {
    const asked: string[][] = []
    const symbolic = (gold: string, answer: string): Promise<Outcome> => {
      asked.push([gold, answer])
      return Promise.resolve('equal')
    }
    for (const [gold, answer] of [
      ['12', '12'],
      ['12', '13'],
      ['Monday', 'Tuesday'],
      ['12', '']
    ] as const) {
      await compareAnswersWith(gold, answer, symbolic)
    }
    expect(asked).toEqual([])
    const comparison = await compareAnswersWith('x+1', '1 + x', symbolic)
    expect(asked).toEqual([['x+1', '1 + x']])
    expect(comparison).toMatchObject({
      outcome: 'equal',
      steps: [{ step: 'text' }, { step: 'symbols', outcome: 'equal' }]
    })
  })

  it('shows what was found, by which rule, and how it was compared', () => {
    expect(explainJudgement(task('12'), 'So \\boxed{12.0}.')).toMatchObject({
      verdict: { kind: 'correct' },
      extraction: { by: 'boxed', raw: '12.0' },
      comparison: { outcome: 'equal', steps: [{ step: 'text' }, { step: 'number', because: '12 exactly' }] }
    })
  })
})

describe('the symbolic step in its own process', () => {
  const symbols = equalityProcess({ limitMs: 1500 })
  afterAll(() => symbols.close())

  it.each([
    ['(x+1)^2', 'x^2+2x+1', 'equal'],
    ['\\sqrt{8}', '2\\sqrt{2}', 'equal'],
    ['\\sin^2 x+\\cos^2 x', '1', 'equal'],
    ['\\frac{\\sqrt{3}}{3}', '\\frac{1}{\\sqrt{3}}', 'equal'],
    ['\\frac{\\pi}{2}', '\\pi/2', 'equal'],
    ['\\log 8', '3\\log 2', 'equal'],
    ['e^{i\\pi}', '-1', 'equal'],
    ['y=2x+1', '2x-y+1=0', 'equal'],
    ['y=2x', 'x=2y', 'different'],
    ['x', 'y', 'different'],
    ['x^2+1', 'x^2+1.0000001', 'different'],
    ['\\pi', '3.14159', 'different'],
    ['2\\sqrt{3}', '3\\sqrt{2}', 'different'],
    ['x=1', '1', 'different'],
    ['\\frac{', '1', 'undecided'],
    ['', 'x', 'undecided']
  ] as const)('%s and %s: %s', async (gold, answer, outcome) => {
    expect(await symbols.compare(gold, answer)).toBe(outcome)
  })

  it('turns an undecided verdict into a decided one', async () => {
    expect(await judgeWith(task('2\\sqrt{3}'), '\\boxed{\\sqrt{12}}', symbols.compare)).toEqual({ kind: 'correct' })
    expect(await judgeWith(task('2\\sqrt{3}'), '\\boxed{\\sqrt{13}}', symbols.compare)).toEqual({ kind: 'wrong' })
    expect(await judgeWith(task('12'), '\\boxed{}', symbols.compare)).toMatchObject({ kind: 'unreadable' })
  })

  it('is killed when an expression never ends, and the next call works', async () => {
    const losses = symbols.losses()
    const started = performance.now()
    const hanging = symbols.compare('9^{9^{9^{9}}}', '1')
    const next = symbols.compare('x+x', '2x') // asked while the first still hangs
    expect(await hanging).toBe('undecided')
    expect(performance.now() - started).toBeLessThan(20000)
    expect(await next).toBe('equal')
    expect(symbols.losses()).toBe(losses + 1)
  })

  it('answers undecided once closed, and where the child cannot start', async () => {
    const closed = equalityProcess()
    closed.close()
    expect(await closed.compare('x', 'x+0')).toBe('undecided')
    const broken = equalityProcess({ worker: '/nowhere/worker.js' })
    expect(await broken.compare('x', 'x+0')).toBe('undecided')
    expect(broken.losses()).toBe(1)
    broken.close()
  })
})
