import { expect, test } from 'vitest'
import { rewardParts } from '../../../src/renderer/pages/runs/reward-parts.ts'

const rewards = { accuracy: -0.5, repetition: -2 }
const weights = { accuracy: 8 / 13, repetition: 1 / 13 }

test('component times weight is what it brings, and the sum is the reward', () => {
  const reward = (8 / 13) * -0.5 + (1 / 13) * -2
  const { parts, addsUp } = rewardParts({ rewards, weights, reward })
  expect(parts.map(({ name, contribution }) => [name, contribution])).toEqual([
    ['accuracy', (8 / 13) * -0.5],
    ['repetition', (1 / 13) * -2]
  ])
  expect(addsUp).toBe(true)
})

test('a record without weights, or without all of them, claims no sum; one that does not add up is told', () => {
  expect(rewardParts({ rewards, reward: 0 })).toEqual({
    parts: [
      { name: 'accuracy', score: -0.5, weight: null, contribution: null },
      { name: 'repetition', score: -2, weight: null, contribution: null }
    ],
    addsUp: null
  })
  expect(rewardParts({ rewards, weights: { accuracy: 1 }, reward: -0.5 }).addsUp).toBeNull()
  expect(rewardParts({ rewards, weights, reward: 1 }).addsUp).toBe(false)
})
