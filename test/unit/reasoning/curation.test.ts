import { describe, expect, it } from 'vitest'
import { decontaminate, isSettled, passCounts, teachable } from '../../../src/main/data/prepare/curation.ts'
import type { Task } from '../../../src/shared/task.ts'

const task = (id: string, prompt = id): Task => ({ id, source: 's', prompt, solution: '1', check: { kind: 'equal' } })

describe('teachable', () => {
  const tasks = ['never', 'once', 'half', 'often', 'always', 'unknown', 'empty'].map((id) => task(id))
  const passes = new Map(
    [
      ['never', 0],
      ['once', 1],
      ['half', 4],
      ['often', 6],
      ['always', 8]
    ].map(([id, correct]) => [id as string, { correct: correct as number, samples: 8 }])
  )
  passes.set('empty', { correct: 0, samples: 0 })
  const ids = (list: readonly Task[]): string[] => list.map(({ id }) => id)

  it('keeps the middle band and says why it removed the rest', () => {
    const { kept, removed } = teachable(tasks, passes)
    expect(ids(kept)).toEqual(['once', 'half'])
    expect(removed.map((removal) => [removal.task.id, removal.reason])).toEqual([
      ['never', { kind: 'too hard', rate: 0 }],
      ['often', { kind: 'too easy', rate: 0.75 }],
      ['always', { kind: 'too easy', rate: 1 }],
      ['unknown', { kind: 'not sampled' }],
      ['empty', { kind: 'not sampled' }]
    ])
  })
  it('takes thresholds', () => {
    expect(ids(teachable(tasks, passes, { minRate: 0.2, maxRate: 0.9 }).kept)).toEqual(['half', 'often'])
  })
})

describe('decontaminate', () => {
  const words = (prefix: string, count: number): string =>
    Array.from({ length: count }, (_, i) => `${prefix}${i}`).join(' ')
  const test = [
    task('test-long', `${words('alpha', 30)}.`),
    task('test-short', 'Compute 3+7*2.'),
    ...['a', 'b', 'c', 'd'].map((name) => task(`test-common-${name}`, `${words('stock', 13)} ${words(name, 30)}`)),
    task('test-medium', words('gamma', 20))
  ]
  it.each([
    ['a copy in other case and punctuation', words('ALPHA', 30).replaceAll(' ', ', '), 'same text', 'test-long'],
    ['the same short task', 'compute 3 + 7 * 2', 'same text', 'test-short'],
    ['thirteen words in a row', `x y z ${words('alpha', 13)} ${words('fresh', 200)}`, '13-gram', 'test-long'],
    ['more than two fifths of the 7-grams', `${words('gamma', 12)} ${words('new', 6)}`, '7-gram share', 'test-medium']
  ])('removes %s', (_what, prompt, kind, testId) => {
    const { kept, removed } = decontaminate([task('planted', prompt)], test)
    expect(kept).toEqual([])
    expect(removed).toMatchObject([{ task: { id: 'planted' }, reason: { kind, testId } }])
  })
  it.each([
    ['another operator', 'Compute 3-7*2.'],
    ['another number', 'Compute 3+7*21.'],
    ['a fraction of its neighbour', 'Compute 3+7*2.5.'],
    ['twelve words in a row among fresh ones', `${words('alpha', 12)} ${words('fresh', 40)}`],
    ['a phrase that four test items share', `${words('stock', 13)} ${words('fresh', 100)}`],
    ['six words', words('gamma', 6)],
    ['nothing', '']
  ])('keeps %s', (_what, prompt) => {
    expect(decontaminate([task('kept', prompt)], test)).toMatchObject({ kept: [{ id: 'kept' }], removed: [] })
  })
  it('finds exactly the planted leaks among clean tasks, and takes thresholds', () => {
    const clean = Array.from({ length: 50 }, (_, i) => task(`clean-${i}`, words(`w${i}x`, 25)))
    const leaks = [task('leak-1', test[0]!.prompt), task('leak-2', test[1]!.prompt)]
    const { kept, removed } = decontaminate([...clean.slice(0, 20), ...leaks, ...clean.slice(20)], test)
    expect(kept).toEqual(clean)
    expect(removed.map((removal) => removal.task.id)).toEqual(['leak-1', 'leak-2'])
    const stock = task('stock', `${words('stock', 13)} ${words('fresh', 100)}`)
    expect(decontaminate([stock], test, { commonItems: 4 }).removed).toHaveLength(1)
    expect(
      decontaminate([task('g', `${words('gamma', 12)} ${words('new', 6)}`)], test, { maxShare: 0.5 }).removed
    ).toHaveLength(0)
  })
})

describe('answers that cannot change what becomes of a task are not asked for', () => {
  const bands = [
    { minRate: 0, maxRate: 0.9 },
    { minRate: 0, maxRate: 0.7 },
    { minRate: -0.1, maxRate: 0.5 },
    { minRate: 0.3, maxRate: 0.5 },
    { minRate: 0.32, maxRate: 0.34 },
    { minRate: 0.5, maxRate: 0.4 }
  ]
  const outcomes = (samples: number): boolean[][] =>
    Array.from({ length: 2 ** samples }, (_, bits) =>
      Array.from({ length: samples }, (_, i) => ((bits >> i) & 1) === 1)
    )
  const placeOf = (id: string, pass: { correct: number; samples: number }, band: object): string => {
    const { kept, removed } = teachable([task(id)], new Map([[id, pass]]), band)
    return kept.length > 0 ? 'kept' : removed[0]!.reason.kind
  }

  it.each(bands)('band %o: the same tasks as with all answers, and none asked that was settled', async (band) => {
    for (let samples = 1; samples <= 7; samples++) {
      const all = outcomes(samples)
      const tasks = all.map((_, i) => task(String(i)))
      const asked = new Map<string, number>()
      const counts = await passCounts(tasks, { samples, perRound: 1, band }, (open, from) => {
        for (const { id } of open) asked.set(id, (asked.get(id) ?? 0) + 1)
        return Promise.resolve(open.map(({ id }) => [all[Number(id)]![from]!]))
      })
      for (const [i, answers] of all.entries()) {
        const count = counts.get(String(i))!
        const whole = { correct: answers.filter(Boolean).length, samples }
        expect(placeOf('x', count, band), `${answers.join()} after ${count.samples}`).toBe(placeOf('x', whole, band))
        expect(count.samples).toBe(asked.get(String(i)))
        expect(count.correct).toBe(answers.slice(0, count.samples).filter(Boolean).length)
        // not one answer earlier: before the last one both its outcomes, or a later one, still mattered
        if (count.samples > 1) {
          const before = answers.slice(0, count.samples - 1)
          const rest = outcomes(samples - before.length)
          const places = rest.map((more) => placeOf('x', { correct: [...before, ...more].filter(Boolean).length, samples }, band)) // prettier-ignore
          expect(new Set(places).size).toBeGreaterThan(1)
        }
      }
    }
  })

  it('rounds of several answers keep the same tasks, and the last round asks only what is left', async () => {
    const band = { minRate: 0, maxRate: 0.7 }
    const all = outcomes(7)
    const tasks = all.map((_, i) => task(String(i)))
    const rounds: [from: number, count: number][] = []
    const counts = await passCounts(tasks, { samples: 7, perRound: 3, band }, (open, from, count) => {
      rounds.push([from, count])
      return Promise.resolve(open.map(({ id }) => all[Number(id)]!.slice(from, from + count)))
    })
    expect(rounds).toEqual([
      [0, 3],
      [3, 3],
      [6, 1]
    ])
    for (const [i, answers] of all.entries()) {
      const whole = { correct: answers.filter(Boolean).length, samples: 7 }
      expect(placeOf('x', counts.get(String(i))!, band)).toBe(placeOf('x', whole, band))
    }
  })

  it('a task solved and missed is settled when neither edge can be reached', () => {
    const band = { minRate: 0, maxRate: 0.9 }
    expect(isSettled({ correct: 0, samples: 3 }, 4, band)).toBe(false)
    expect(isSettled({ correct: 1, samples: 2 }, 4, band)).toBe(true)
    expect(isSettled({ correct: 3, samples: 3 }, 4, band)).toBe(false)
    expect(isSettled({ correct: 3, samples: 4 }, 4, band)).toBe(true)
  })
})
