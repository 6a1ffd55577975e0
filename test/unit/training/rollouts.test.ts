/** What a step reports of its rollouts, in TRL's meaning of the names. */
import { expect, test } from 'vitest'
import { groupMetrics } from '../../../src/main/training/rollouts.ts'
import type { Group } from '../../../src/main/training/rollouts.ts'

type Part = { accuracy: number; repetition: number }

/** A group with these component scores, weighted 8/13 and 1/13 as in the report. */
function group(parts: readonly Part[]): Group {
  const scored = parts.map(({ accuracy, repetition }) => ({
    rollout: { tokens: new Int32Array(4), stop: 'eos' },
    trace: { kind: 'well-formed' },
    verdict: { kind: 'correct' },
    score: {
      accuracyScaled: accuracy,
      repetition: { value: repetition },
      weightedAccuracy: (8 / 13) * accuracy,
      weightedRepetition: (1 / 13) * repetition,
      reward: (8 / 13) * accuracy + (1 / 13) * repetition
    }
  }))
  return { scored, reward: { mean: 0, std: 0 }, flat: false } as unknown as Group
}

test('components are reported as they score, before their weights; the reward is their weighted sum', () => {
  const metrics = groupMetrics([
    group([
      { accuracy: 1, repetition: 0 },
      { accuracy: -1, repetition: -0.5 },
      { accuracy: 0.5, repetition: 0 },
      { accuracy: -0.5, repetition: -0.5 }
    ])
  ])
  expect(metrics['rewards/accuracy/mean']).toBeCloseTo(0)
  expect(metrics['rewards/repetition/mean']).toBeCloseTo(-0.25)
  // over n − 1, as TRL's nanstd: √(2.5 / 3), √(0.25 / 3)
  expect(metrics['rewards/accuracy/std']).toBeCloseTo(Math.sqrt(2.5 / 3))
  expect(metrics['rewards/repetition/std']).toBeCloseTo(Math.sqrt(0.25 / 3))
  expect(metrics['reward']).toBeCloseTo(-0.25 / 13)
})
