import { expect, test } from 'vitest'
import { learningRate, scaledWarmup } from '../../../src/main/training/schedule.ts'
import type { Schedule } from '../../../src/main/training/schedule.ts'

const base: Schedule = { peak: 8, warmupSteps: 4, warmup: 'linear', decay: 'constant', totalSteps: 8 }
const rates = (changes: Partial<Schedule>): number[] =>
  Array.from({ length: 9 }, (_, step) => Number(learningRate(step, { ...base, ...changes }).toFixed(9)))

test.each<[string, Partial<Schedule>, number[]]>([
  ['linear warm-up, constant', {}, [2, 4, 6, 8, 8, 8, 8, 8, 8]],
  ['linear decay', { decay: 'linear' }, [2, 4, 6, 8, 8, 6, 4, 2, 0]],
  ['cosine decay', { decay: 'cosine' }, [2, 4, 6, 8, 8, 6.828427125, 4, 1.171572875, 0]],
  ['cosine warm-up', { warmup: 'cosine' }, [1.171572875, 4, 6.828427125, 8, 8, 8, 8, 8, 8]],
  ['no warm-up', { warmupSteps: 0, decay: 'linear' }, [8, 7, 6, 5, 4, 3, 2, 1, 0]],
  ['nothing but warm-up', { warmupSteps: 8, decay: 'cosine' }, [1, 2, 3, 4, 5, 6, 7, 8, 8]]
])('%s', (_, changes, expected) => expect(rates(changes)).toEqual(expected))

test.each([
  ['sft', 16_000, 450],
  ['sft', 400, 11],
  ['sft', 20, 1],
  ['sft', 1, 1],
  ['grpo', 90, 10],
  ['grpo', 500, 10],
  ['grpo', 45, 5],
  ['grpo', 10, 1],
  ['grpo', 1, 1]
] as const)('warm-up of %s over %i steps is %i', (kind, totalSteps, expected) => {
  expect(scaledWarmup(totalSteps, kind)).toBe(expected)
})
