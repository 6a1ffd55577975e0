import { expect, test } from 'vitest'
import type { Dialogue } from '../../../src/main/policy/dialogue.ts'
import { recordedGroups } from '../../../src/main/training/rollouts.ts'
import type { Group, Means } from '../../../src/main/training/rollouts.ts'

/** Tokens are bytes: `é` is two of them. */
const dialogue = {
  vocabulary: {
    decode: (tokens: Iterable<number>) => Buffer.from([...tokens]).toString('utf8'),
    piece: (token: number) => Uint8Array.of(token)
  }
} as unknown as Dialogue

const means = { dialogue, reward: { weightAccuracy: 0.6, weightRepetition: 0.1 } as Means['reward'] }

const group = (id: string, text: string): Group => {
  const tokens = Int32Array.from(Buffer.from(text))
  const scored = {
    rollout: { tokens, logprobs: new Float32Array(tokens.length).fill(-9), temperatureOneLogprobs: new Float32Array(tokens.length).fill(-0.123456), stop: 'eos' },
    trace: { kind: 'well-formed', thinking: 'a', answer: 'b' },
    verdict: { kind: 'correct' },
    score: { accuracyScaled: 1, repetition: { value: -2 }, reward: 0.4 },
    advantage: 0
  } // prettier-ignore
  return { task: { id, prompt: 'p' }, scored: [scored, scored] } as unknown as Group
}

test('every group of a step is recorded; the first one token by token, characters whole', () => {
  const [first, second] = recordedGroups([group('1', 'né!'), group('2', 'x')], means)
  expect(first!.map(({ taskId }) => taskId)).toEqual(['1', '1'])
  expect(first![0]!.tokens).toEqual(['n', '', 'é', '!'])
  expect(first![0]!.logprobs).toEqual([-0.123, -0.123, -0.123, -0.123])
  expect(second![0]).toMatchObject({ taskId: '2', text: 'x', verdict: 'correct', reward: 0.4 })
  expect(first![0]).toMatchObject({
    rewards: { accuracy: 1, repetition: -2 },
    weights: { accuracy: 0.6, repetition: 0.1 }
  })
  expect(second![0]).not.toHaveProperty('tokens')
})

test('very long thoughts: at least the first group, then as many as fit, without their tokens', () => {
  const long = 'y'.repeat(100_000)
  const recorded = recordedGroups([group('1', long), group('2', long), group('3', 'short')], means)
  expect(recorded.map(([row]) => row!.taskId)).toEqual(['1'])
  expect(recorded[0]![0]).not.toHaveProperty('tokens')
  expect(recordedGroups([], means)).toEqual([])
})
