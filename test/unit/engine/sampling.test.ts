/** Drawing from a row of probabilities. */
import { describe, expect, test } from 'vitest'
import { candidates, draw, likeliest } from '../../../src/main/engine/sampling.ts'
import { seeded } from '../../../src/shared/random.ts'
import { largest, nucleus } from '../../../src/main/engine/partial-selection.ts'
import { SamplingSettings } from '../../../src/shared/recipe.ts'

const SETTINGS = { unfiltered: {}, 'top-k': { top_k: 2 }, 'top-p': { top_p: 0.9 }, 'min-p': { min_p: 0.1 } }

describe.each(Object.entries(SETTINGS))('%s', (_, some) => {
  const settings = SamplingSettings.parse(some)

  // softmax spreads one NaN or infinite logit over its whole row
  test.each([
    ['nothing but NaN', [NaN, NaN, NaN, NaN]],
    ['all zero', [0, 0, 0, 0]]
  ])('refuses a row that is %s: no token follows from it', (_name, row) => {
    for (let i = 0; i < 8; i++)
      expect(() => draw(Float32Array.from(row), settings, seeded(i))).toThrow(
        expect.objectContaining({ name: 'AppError', code: 'training' }) as Error
      )
  })

  test('draws as often as the probabilities say', () => {
    const random = seeded('often')
    const row = Float32Array.of(0.6, 0.3, 0.06, 0.04)
    const counts = [0, 0, 0, 0]
    for (let i = 0; i < 4000; i++) counts[draw(row, settings, random).token]!++
    expect(counts[0]! / counts[1]!).toBeGreaterThan(1.8)
    expect(counts[0]! / counts[1]!).toBeLessThan(2.2)
  })
})

test('the likeliest token of a row, the first of equals; none where a probability is no number', () => {
  expect(likeliest(Float32Array.of(0.2, 0.4, 0.4))).toEqual({ token: 1, probability: 1 })
  expect(() => likeliest(Float32Array.of(0.2, NaN, 0.4))).toThrow(/not finite/)
  expect(() => likeliest(Float32Array.of(NaN, 0.2, 0.4))).toThrow(/not finite/)
})

/** Peaked or flat, with ties and zeros in it. */
function randomRow(size: number, label: string): Float32Array {
  const random = seeded('row', label)
  const power = random.integer(1, 12)
  const steps = random.integer(3, 400) // coarse values, so that some are equal
  const raw = Float32Array.from({ length: size }, () => (Math.floor(random.next() * steps) / steps) ** power)
  const sum = raw.reduce((total, value) => total + value, 0)
  return raw.map((value) => value / sum)
}

/** All tokens that are possible, likeliest first, ties by token id. */
const fullSort = (row: Float32Array): number[] =>
  [...row.keys()].filter((token) => row[token]! > 0).sort((a, b) => row[b]! - row[a]! || a - b)

describe.each([1, 2, 3, 50, 1000])('partial selection from %i tokens', (size) => {
  test('gives what a full sort gives', () => {
    for (let i = 0; i < 40; i++) {
      const row = randomRow(size, `${size}/${i}`)
      const sorted = fullSort(row)
      for (const k of [1, 2, 7, 50, size - 1, size, size + 1].filter((it) => it > 0))
        expect(largest(row, k), `k ${k}`).toEqual(sorted.slice(0, k))
      expect(nucleus(row, 0, Infinity)).toEqual(sorted)
      for (const mass of [0, 0.1, 0.5, 0.95]) {
        let sum = 0
        const count = sorted.findIndex((token) => (sum += row[token]!) >= mass) + 1
        expect(nucleus(row, 0, mass), `mass ${mass}`).toEqual(sorted.slice(0, count))
      }
    }
  })

  test('of a row that is no distribution, nothing', () => {
    for (const row of [new Float32Array(size), new Float32Array(size).fill(NaN)]) {
      expect(largest(row, 5)).toEqual([])
      expect(nucleus(row, 0, 0.9)).toEqual([])
    }
  })
})

/** The filters as they are described, one after the other, each on the renormalised rest. */
function filtered(row: Float32Array, { top_k, top_p, min_p }: SamplingSettings): number[] {
  let kept = fullSort(row)
  const total = (): number => kept.reduce((sum, token) => sum + row[token]!, 0)
  if (top_k > 0) kept = kept.slice(0, top_k)
  if (top_p < 1) {
    const whole = top_k > 0 ? total() : 1
    let sum = 0
    const count = kept.findIndex((token) => (sum += row[token]!) >= top_p * whole) + 1
    if (count > 0) kept = kept.slice(0, count)
  }
  return kept.filter((token) => row[token]! >= min_p * row[kept[0]!]!)
}

test.each([
  { top_k: 5 },
  { top_p: 0.9 },
  { min_p: 0.2 },
  { top_k: 50, top_p: 0.95 },
  { top_p: 0.8, min_p: 0.05 },
  // min-p comes last: what it cuts still counted for top-p
  { top_k: 20, top_p: 0.7, min_p: 0.3 }
])('the filters %o leave what they leave one after the other', (some) => {
  const settings = SamplingSettings.parse(some)
  for (let i = 0; i < 60; i++) {
    const row = randomRow(300, `filters/${i}`)
    const { tokens, probabilities } = candidates(row, settings)
    expect(tokens).toEqual(filtered(row, settings))
    expect(probabilities).toEqual(tokens.map((token) => row[token]))
  }
})
