import { describe, expect, it } from 'vitest'
import { groupAdvantages } from '../../../src/main/reasoning/advantage.ts'

const n = (thirteenths: number, count = 1): number[] => Array.from({ length: count }, () => thirteenths / 13)
const worked = [...n(8, 2), ...n(4), ...n(-4, 3), ...n(-8, 2)]
const population = { scale: 'group', std: 'population', epsilon: 0 } as const
const expectAll = (actual: readonly number[], expected: readonly (readonly [number, number])[]): void => {
  const flat = expected.flatMap(([value, count]) => Array.from({ length: count }, () => value))
  expect(actual).toHaveLength(flat.length)
  actual.forEach((value, i) => expect(Math.abs(value - flat[i]!)).toBeLessThanOrEqual(1e-9))
}

/** paper-facts 2.3: [what, rewards, settings, mean, std, advantages as value × count]. */
describe('group advantages', () => {
  it.each([
    [
      'worked example',
      worked,
      population,
      -0.076923077,
      0.480384461,
      [
        [1.441153384, 2],
        [0.800640769, 1],
        [-0.480384461, 3],
        [-1.120897077, 2]
      ]
    ],
    [
      'verl form',
      worked,
      { scale: 'group', std: 'sample', epsilon: 1e-6 },
      -0.076923077,
      0.513552591,
      [
        [1.348072926, 2],
        [0.748929404, 1],
        [-0.449357642, 3],
        [-1.048501165, 2]
      ]
    ],
    [
      'TRL form',
      worked,
      { scale: 'group', std: 'sample', epsilon: 1e-4 },
      -0.076923077,
      0.513552591,
      [
        [1.347813103, 2],
        [0.748785057, 1],
        [-0.449271034, 3],
        [-1.04829908, 2]
      ]
    ],
    [
      'Dr. GRPO',
      worked,
      { scale: 'none', std: 'sample', epsilon: 1e-6 },
      -0.076923077,
      0.513552591,
      [
        [0.692307692, 2],
        [0.384615385, 1],
        [-0.230769231, 3],
        [-0.538461538, 2]
      ]
    ],
    [
      'half and half',
      [...n(8, 4), ...n(-4, 4)],
      population,
      0.153846154,
      0.461538462,
      [
        [1, 4],
        [-1, 4]
      ]
    ],
    [
      'half and half, sample',
      [...n(8, 4), ...n(-4, 4)],
      { ...population, std: 'sample' },
      0.153846154,
      0.49340537,
      [
        [0.935414347, 4],
        [-0.935414347, 4]
      ]
    ],
    [
      'one of eight',
      [...n(8), ...n(-4, 7)],
      population,
      -0.192307692,
      0.305278997,
      [
        [2.645751311, 1],
        [-0.377964473, 7]
      ]
    ],
    [
      'one of eight, sample',
      [...n(8), ...n(-4, 7)],
      { ...population, std: 'sample' },
      -0.192307692,
      0.326356976,
      [
        [2.474873734, 1],
        [-0.353553391, 7]
      ]
    ],
    [
      'a long correct one',
      [0.461538462, ...n(8, 3), ...n(-4, 4)],
      population,
      0.134615385,
      0.444808981,
      [
        [0.734974092, 1],
        [1.080844253, 3],
        [-0.994376713, 4]
      ]
    ]
  ] as const)('%s', (_what, rewards, settings, mean, std, advantages) => {
    const result = groupAdvantages(rewards, settings)
    expect(Math.abs(result.mean - mean)).toBeLessThanOrEqual(1e-9)
    expect(Math.abs(result.std - std)).toBeLessThanOrEqual(1e-9)
    expectAll(result.advantages, advantages)
    expect(result.flat).toBe(false)
  })

  it('gives exact zeros for equal rewards, whatever the rounding of the mean', () => {
    const result = groupAdvantages([0.1, 0.1, 0.1], { scale: 'group', std: 'sample', epsilon: 0 })
    expect(result).toEqual({ mean: 0.1, std: 0, advantages: [0, 0, 0], flat: true })
    expect(groupAdvantages([5], population)).toMatchObject({ advantages: [0], flat: true })
  })

  it('sums to zero', () => {
    const sum = groupAdvantages(worked, population).advantages.reduce((a, b) => a + b, 0)
    expect(Math.abs(sum)).toBeLessThan(1e-12)
  })

  it('refuses what is no group', () => {
    expect(() => groupAdvantages([], population)).toThrow(RangeError)
    expect(() => groupAdvantages([1, NaN], population)).toThrow(/not finite/)
  })
})
