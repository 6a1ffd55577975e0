import { describe, expect, test } from 'vitest'
import { ofK, passAtK } from '../../../src/main/evaluation/of-k.ts'
import type { Try } from '../../../src/main/evaluation/of-k.ts'
import { signFlipTest } from '../../../src/main/evaluation/sign-flip.ts'
import {
  accuracyInterval,
  bootstrapMean,
  distinguishable,
  normalCdf,
  pairedTest,
  passAt1,
  standardDeviation,
  wilson
} from '../../../src/main/evaluation/statistics.ts'
import { pText } from '../../../src/shared/p-text.ts'
import type { Outcomes } from '../../../src/main/evaluation/statistics.ts'
import { seeded } from '../../../src/shared/random.ts'

/** `['110', '001']`: two tasks, three runs. */
const outcomes = (rows: readonly string[]): Outcomes => rows.map((row) => [...row].map((mark) => mark === '1'))
const random = () => seeded(0, 'statistics')

test('pass@1 with the sample standard deviation across runs', () => {
  // runs: 3/4, 1/4, 2/4
  expect(passAt1(outcomes(['101', '110', '000', '101']))).toEqual({
    mean: 0.5,
    deviation: 0.25,
    perRun: [0.75, 0.25, 0.5],
    tasks: 4,
    runs: 3
  })
  expect(passAt1(outcomes(['1', '0']))).toEqual({ mean: 0.5, deviation: undefined, perRun: [0.5], tasks: 2, runs: 1 })
  expect(() => passAt1([])).toThrow(RangeError)
  expect(standardDeviation([2, 4, 4, 4, 5, 5, 7, 9])).toBeCloseTo(Math.sqrt(32 / 7), 12)
})

test('the normal distribution', () => {
  expect(normalCdf(0)).toBe(0.5)
  expect(normalCdf(1.959963984540054)).toBeCloseTo(0.975, 14)
  expect(normalCdf(-3)).toBeCloseTo(0.0013498980316301, 14)
})

// Newcombe 1998, Statistics in Medicine 17:857, table I, method 3 (score, no continuity correction).
test.each([
  [81, 263, 0.2553, 0.3662],
  [15, 148, 0.0624, 0.1605],
  [0, 20, 0, 0.1611],
  [1, 29, 0.0061, 0.1718]
])('Wilson of %i in %i', (successes, trials, low, high) => {
  const interval = wilson(successes, trials)
  expect(interval.low).toBeCloseTo(low, 4)
  expect(interval.high).toBeCloseTo(high, 4)
})

describe('accuracy interval', () => {
  test('one run: Wilson over tasks', () => {
    expect(accuracyInterval(outcomes([...'1'.repeat(15), ...'0'.repeat(133)]), random())).toEqual(wilson(15, 148))
  })
  test('runs of one task are one observation: doubling the runs does not narrow it', () => {
    const once = outcomes(Array.from({ length: 50 }, (_, i) => (i % 2 ? '11' : '00')))
    const twice = outcomes(Array.from({ length: 50 }, (_, i) => (i % 2 ? '1111' : '0000')))
    expect(accuracyInterval(twice, random())).toEqual(accuracyInterval(once, random()))
    const { low, high, method } = accuracyInterval(once, random())
    expect(method).toBe('bootstrap')
    expect(high - low).toBeCloseTo(2 * 1.96 * Math.sqrt(0.25 / 50), 1)
  })
  test('all correct is not certainty', () => {
    expect(accuracyInterval(outcomes(Array(20).fill('111')), random())).toEqual(wilson(20, 20))
  })
  test('covers the truth about as often as it says', () => {
    const draw = seeded(1, 'coverage')
    let covered = 0
    for (let trial = 0; trial < 200; trial++) {
      const sample = Array.from({ length: 60 }, () => {
        const ability = draw.next() ** 2 // mean 1/3
        return Array.from({ length: 4 }, () => draw.next() < ability)
      })
      const { low, high } = bootstrapMean(
        sample.map((runs) => runs.filter(Boolean).length / 4),
        draw,
        0.95,
        400
      )
      covered += Number(low <= 1 / 3 && 1 / 3 <= high)
    }
    expect(covered).toBeGreaterThanOrEqual(180)
    expect(covered).toBeLessThanOrEqual(199)
  })
})

/** Written down when each value was drawn by itself: a faster way must draw the same ones. */
test('a bootstrap of a seed is always the same', () => {
  const task = seeded(3, 'golden values')
  const differences = Array.from({ length: 1319 }, () => task.integer(-4, 4) / 4)
  const source = seeded(5, 'golden')
  expect(bootstrapMean(differences, source)).toEqual({
    low: -0.019716641394996192,
    high: 0.05098559514783927,
    level: 0.95,
    method: 'bootstrap'
  })
  expect(source.state()).toEqual([744258433, -221832941, 933164414, 1153029658])
})

/** All sign patterns, one by one. */
function enumerated(differences: readonly number[]): number {
  const observed = Math.abs(differences.reduce((a, b) => a + b, 0))
  let asFar = 0
  for (let signs = 0; signs < 2 ** differences.length; signs++) {
    const sum = differences.reduce((total, d, i) => total + ((signs >> i) & 1 ? d : -d), 0)
    asFar += Number(Math.abs(sum) >= observed - 1e-9)
  }
  return asFar / 2 ** differences.length
}

describe('paired test', () => {
  test('single runs: McNemar exact, 2·Σ C(10, ≤1)/2^10', () => {
    const a = outcomes(['1', ...Array(9).fill('0'), ...Array(30).fill('1')])
    const b = outcomes(['0', ...Array(9).fill('1'), ...Array(30).fill('1')])
    const result = pairedTest(a, b, random())
    expect(result).toMatchObject({ p: 22 / 1024, method: 'exact', difference: 0.2, tasks: 40 })
    expect(result.interval.low).toBeLessThan(0.2)
    expect(result.interval.high).toBeGreaterThan(0.2)
  })
  test('by hand: differences 1/2, 1/2, 1 on three tasks have p = 2/8', () => {
    expect(pairedTest(outcomes(['00', '10', '00']), outcomes(['10', '11', '11']), random())).toMatchObject({
      p: 0.25,
      difference: 2 / 3
    })
  })
  test('equals the enumeration of all patterns, unequal run counts too', () => {
    const draw = seeded(2, 'flip')
    for (let trial = 0; trial < 20; trial++) {
      const counts = (): [number, number][] =>
        Array.from({ length: 10 }, (_, i) => [draw.integer(0, 2 + (i % 3)), 2 + (i % 3)])
      const [a, b] = [counts(), counts()]
      const differences = a.map(([correct, runs], i) => b[i]![0] / b[i]![1] - correct / runs)
      expect(signFlipTest(a, b, draw).p).toBeCloseTo(enumerated(differences), 12)
    }
  })
  test('Monte Carlo agrees where the exact table would be too wide', () => {
    const runs = [997, 991, 983, 977]
    const a = runs.map((n): [number, number] => [Math.round(0.4 * n), n])
    const b = runs.map((n, i): [number, number] => [Math.round((0.5 + i / 20) * n), n])
    const { p, method } = signFlipTest(a, b, random())
    expect(method).toBe('monte carlo')
    expect(p).toBeCloseTo(2 / 16, 1)
  })
  test('no difference: p is 1, no effect size', () => {
    const same = outcomes(['10', '01'])
    expect(pairedTest(same, same, random())).toMatchObject({ p: 1, difference: 0, effect: undefined })
  })
  test('false alarms are as rare as promised', () => {
    const draw = seeded(3, 'null')
    let alarms = 0
    for (let trial = 0; trial < 400; trial++) {
      const counts = (): [number, number][] => Array.from({ length: 40 }, () => [draw.integer(0, 4), 4])
      alarms += Number(signFlipTest(counts(), counts(), draw).p < 0.05)
    }
    expect(alarms).toBeLessThan(35)
    expect(alarms).toBeGreaterThan(5)
  })
  test('many tasks stay exact', () => {
    const many = (seed: number): [number, number][] => {
      const draw = seeded(seed, 'many')
      return Array.from({ length: 1300 }, () => [draw.integer(0, 8), 8])
    }
    expect(signFlipTest(many(1), many(2), random()).method).toBe('exact')
  })
  test('unpaired input is refused', () => {
    expect(() => pairedTest(outcomes(['1']), outcomes(['1', '0']), random())).toThrow(RangeError)
  })
})

test('in words', () => {
  const a = outcomes(Array(12).fill('00'))
  const clear = distinguishable(pairedTest(a, outcomes([...Array(11).fill('11'), '10']), random()), 'base', 'sft')
  expect(clear.yes).toBe(true)
  expect(clear.text).toMatch(
    /^sft is 95\.8 points better than base \(87\.5 to 100\.0 points at 95 %, p = 0\.00049, 12 tasks\)\.$/
  )
  const unclear = distinguishable(pairedTest(a, outcomes(['10', ...Array(11).fill('00')]), random()), 'sft', 'grpo')
  expect(unclear.text).toMatch(/^grpo is not distinguishable from sft: 4\.2 points/)
  expect([pText(1e-9), pText(0.0123), pText(0.5)]).toEqual(['p < 0.0001', 'p = 0.012', 'p = 0.50'])
})

test.each([
  [5, 2, 1, 0.4],
  [5, 2, 2, 0.7],
  [5, 0, 3, 0],
  [5, 5, 1, 1],
  [8, 1, 4, 0.5],
  [10, 3, 5, 0.916666667],
  [50, 30, 1, 0.6],
  [50, 10, 5, 0.689437218],
  [3, 1, 3, 1],
  [3, 1, 8, 1]
])('pass@k of n=%i, c=%i, k=%i is %f', (n, c, k, expected) => expect(passAtK(n, c, k)).toBeCloseTo(expected, 9))

test('best, worst, average and majority of k', () => {
  const tries = (text: string): Try[] =>
    text.split(' ').map((one) => ({ answer: one === '-' ? null : one.replace('!', ''), correct: one.endsWith('!') }))
  const tasks = [tries('4! 4! 5 -'), tries('7 7 3! 3'), tries('- - - -'), tries('- 2! - -')]
  expect(ofK(tasks, 3, random())).toEqual({
    best: 3 / 4,
    worst: 0,
    average: (2 / 3 + 1 / 3 + 1 / 3) / 4,
    majority: 2 / 4
  })
  const tie = Array.from({ length: 200 }, () => tries('1! 2'))
  const { majority } = ofK(tie, 2, random())
  expect(majority).toBeGreaterThan(0.4)
  expect(majority).toBeLessThan(0.6)
  expect(ofK(tie, 2, random()).majority).toBe(majority)
})
