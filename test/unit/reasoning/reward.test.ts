import { describe, expect, it } from 'vitest'
import { accuracyByLength, repetitionOf, resolveReward, scoreReward } from '../../../src/main/reasoning/reward.ts'
import { RewardSettings } from '../../../src/shared/recipe.ts'
import { AppError } from '../../../src/shared/errors.ts'

const settings = (given: Record<string, unknown> = {}, limit = 31744) =>
  resolveReward(RewardSettings.parse(given), limit)
const distinct = (length: number, from = 0): number[] => Array.from({ length }, (_, i) => from + i)
const times = (block: readonly number[], count: number): number[] => Array.from({ length: count }, () => block).flat()
/** Half a unit of the ninth printed digit. */
const PRINTED = 5.01e-10
const near = (value: number, expected: number): void => expect(Math.abs(value - expected)).toBeLessThanOrEqual(PRINTED)

/** paper-facts 1.6, rows 1–30: [row, correct, L, R_acc_scaled, R_final]. */
const ACCURACY: readonly (readonly [number, boolean, number, number, number])[] = [
  [1, true, 1, 1, 0.615384615],
  [2, true, 3702, 1, 0.615384615],
  [3, true, 12000, 1, 0.615384615],
  [4, true, 25600, 1, 0.615384615],
  [5, true, 25601, 0.999999967, 0.615384595],
  [6, true, 26624, 0.966506351, 0.594773139],
  [7, true, 27136, 0.926776695, 0.57032412],
  [8, true, 28160, 0.814704761, 0.501356776],
  [9, true, 28672, 0.75, 0.461538462],
  [10, true, 29696, 0.625, 0.384615385],
  [11, true, 30208, 0.573223305, 0.352752803],
  [12, true, 31232, 0.508518543, 0.312934488],
  [13, true, 31743, 0.500000033, 0.307692328],
  [14, true, 31744, 0.5, 0.307692308],
  [15, true, 40000, 0.5, 0.307692308],
  [16, false, 0, -1, -0.615384615],
  [17, false, 1, -0.99999991, -0.61538456],
  [18, false, 100, -0.999100344, -0.614830981],
  [19, false, 500, -0.977830735, -0.601741991],
  [20, false, 925, -0.926851688, -0.570370269],
  [21, false, 926, -0.926701671, -0.570277952],
  [22, false, 1234, -0.875, -0.538461538],
  [23, false, 1851, -0.75, -0.461538462],
  [24, false, 2468, -0.625, -0.384615385],
  [25, false, 2777, -0.573148312, -0.352706654],
  [26, false, 3300, -0.514406982, -0.316558143],
  [27, false, 3701, -0.50000009, -0.307692363],
  [28, false, 3702, -0.5, -0.307692308],
  [29, false, 10000, -0.5, -0.307692308],
  [30, false, 31744, -0.5, -0.307692308]
]

describe('the accuracy term and the final reward', () => {
  it.each(ACCURACY)('row %i: correct %s, L %i', (_row, correct, length, scaled, final) => {
    const scored = scoreReward({ tokens: distinct(length), correct, complete: true, wellFormed: true }, settings())
    expect(scored).toMatchObject({ length, accuracyRaw: correct ? 1 : 0, override: null, repetition: { value: 0 } })
    near(scored.accuracyScaled, scaled)
    near(scored.reward, final)
  })

  it('is monotonic in length, and any correct answer beats any wrong one', () => {
    const at = (correct: boolean, length: number): number => accuracyByLength(correct, length, settings()).value
    const lengths = Array.from({ length: 1000 }, (_, i) => 33 * i)
    const [right, wrong] = [true, false].map((correct) => lengths.map((length) => at(correct, length)))
    const steps = (values: readonly number[]): number[] => values.slice(1).map((value, i) => value - values[i]!)
    expect(Math.max(...steps(right!))).toBeLessThanOrEqual(0)
    expect(Math.min(...steps(wrong!))).toBeGreaterThanOrEqual(0)
    expect(Math.min(...right!)).toBe(0.5)
    expect(Math.max(...wrong!)).toBe(-0.5)
  })
})

describe('overrides and combined rows', () => {
  const heavy = times([1, 2, 3, 4, 5], 100) // the largest count equals L / 5
  it.each([
    [
      31,
      'cut off, thought fine',
      { complete: false, wellFormed: true, correct: true },
      {},
      distinct(900),
      -0.5,
      0,
      -0.307692308
    ],
    [32, 'no thought', { complete: true, wellFormed: false, correct: true }, {}, distinct(900), -1, 0, -0.615384615],
    [
      33,
      'both, EOS first',
      { complete: false, wellFormed: false, correct: true },
      {},
      distinct(900),
      -0.5,
      0,
      -0.307692308
    ],
    [
      34,
      'both, think first',
      { complete: false, wellFormed: false, correct: true },
      { override_order: 'think_first' },
      distinct(900),
      -1,
      0,
      -0.615384615
    ],
    [
      35,
      'correct, mild repetition',
      { complete: true, wellFormed: true, correct: true },
      {},
      spread(12000, 120),
      1,
      -0.05,
      0.611538462
    ],
    [
      36,
      'wrong, repetition',
      { complete: true, wellFormed: true, correct: false },
      {},
      spread(2000, 100),
      -0.718473058,
      -0.25,
      -0.461368035
    ],
    [
      37,
      'no thought, heavy repetition',
      { complete: true, wellFormed: false, correct: false },
      {},
      heavy,
      -1,
      -1,
      -0.692307692
    ]
  ] as const)('row %i: %s', (_row, _what, response, given, tokens, scaled, repetition, final) => {
    const scored = scoreReward({ ...response, tokens }, settings(given))
    near(scored.accuracyScaled, scaled)
    near(scored.repetition.value, repetition)
    near(scored.reward, final)
    expect(scored.weightedAccuracy + scored.weightedRepetition).toBe(scored.reward)
  })

  it('keeps the raw accuracy and the cosine beside an override', () => {
    const scored = scoreReward({ tokens: distinct(900), correct: true, complete: false, wellFormed: true }, settings())
    expect(scored).toMatchObject({ accuracyRaw: 1, accuracyByLength: 1, accuracyScaled: -0.5, override: 'incomplete' })
  })
})

/** `count` times one block of five tokens, apart from each other by fresh ones, `length` in all. */
function spread(length: number, count: number): number[] {
  const gap = length / count - 5
  return Array.from({ length: count }, (_, i) => [1, 2, 3, 4, 5, ...distinct(gap, 10 + i * gap)]).flat()
}

/** Rows R1–R13: [row, tokens, L, positions, types, types over 5, largest count, value A, value B]. */
const digits = distinct(10)
const REPETITION: readonly (readonly [string, number[], number, number, number, number, number, number, number])[] = [
  ['R1', distinct(20), 20, 16, 16, 0, 1, 0, 0],
  ['R2', times([7], 4), 4, 0, 0, 0, 0, 0, 0],
  ['R3', times([7], 9), 9, 5, 1, 0, 5, 0, 0],
  ['R4', times([7], 10), 10, 6, 1, 1, 6, -3, -3],
  ['R5', times([7], 100), 100, 96, 1, 1, 96, -4.8, -4.8],
  ['R6', times(digits, 5), 50, 46, 10, 0, 5, 0, 0],
  ['R7', times(digits, 6), 60, 56, 10, 6, 6, -0.5, -0.6],
  ['R8', times(digits, 7), 70, 66, 10, 10, 7, -0.5, -1],
  ['R9', times(distinct(20), 10), 200, 196, 20, 20, 10, -0.25, -1],
  ['R10', [...distinct(900, 100), ...times(digits, 10)], 1000, 996, 910, 10, 10, -0.05, -0.05],
  ['R11', [...distinct(9900, 100), ...times([7], 100)], 10000, 9996, 9901, 1, 96, -0.048, -0.048],
  ['R12', spread(600, 6), 600, 596, 591, 1, 6, -0.05, -0.05],
  ['R13', spread(500, 5), 500, 496, 492, 0, 5, 0, 0]
]

describe('the repetition term', () => {
  it.each(REPETITION)('%s', (_row, tokens, length, positions, types, repeatedTypes, maxCount, a, b) => {
    expect(tokens.length).toBe(length)
    const byPositions = repetitionOf(tokens, settings())
    expect(byPositions).toMatchObject({ positions, types, repeatedTypes, maxCount })
    near(byPositions.value, a)
    near(repetitionOf(Int32Array.from(tokens), settings({ repetition_denominator: 'types' })).value, b)
  })

  it('never gives −0', () => expect(Object.is(repetitionOf([], settings()).value, 0)).toBe(true))

  it('does not take 1,23 for 12,3', () => {
    const tokens = [1, 23, 4, 5, 6, 12, 3, 4, 5, 6]
    expect(repetitionOf(tokens, settings({ ngram: 2, ngram_threshold: 1 })).maxCount).toBe(2)
  })
})

describe('resolveReward', () => {
  it('gives the report’s numbers at the report’s limit', () => {
    expect(settings()).toMatchObject({
      lMax: 31744,
      lPosControl: 25600,
      lNegControl: 3702,
      ngram: 5,
      ngramThreshold: 5
    })
  })
  it('scales all lengths by one factor, keeps what is given, leaves the n-grams', () => {
    expect(settings({}, 512)).toMatchObject({
      lMax: 512,
      lPosControl: 413,
      lNegControl: 60,
      ngram: 5,
      ngramThreshold: 5
    })
    expect(settings({ l_neg_control: 100, ngram: 3 }, 512)).toMatchObject({
      lPosControl: 413,
      lNegControl: 100,
      ngram: 3
    })
  })
  it('refuses a cosine without room', () => {
    expect(() => settings({ l_pos_control: 600 }, 512)).toThrow(AppError)
    expect(() => settings({}, 1)).toThrow(/not below l_max/)
  })
})
