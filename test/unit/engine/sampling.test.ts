/** Drawing from a row of probabilities. */
import { describe, expect, test } from 'vitest'
import { draw, likeliest } from '../../../src/main/engine/sampling.ts'
import { seeded } from '../../../src/shared/random.ts'
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
