import { describe, expect, test } from 'vitest'
import type { AppError } from '../../../src/shared/errors.ts'
import { planAnswering, planAnsweringInTurn, requireAnswering } from '../../../src/main/evaluation/answering-memory.ts'
import type { Answering } from '../../../src/main/evaluation/answering-memory.ts'
import type { Model } from '../../../src/main/engine/model.ts'
import { TYPE } from '../../../src/main/engine/tensor.ts'

const MIB = 2 ** 20
/** Of a GPU with 1000 MiB free, of which a run may take 800: `weights` MiB in one tensor, 8 MiB of cache for each sequence. */
const modelOf = (weights: number, headDim = 64): Model =>
  ({
    backend: { freeAtOpen: 1000 * MIB, isCpu: false },
    config: { layers: 16, headDim, keyHeads: 512 / headDim, feedForward: 100, width: 50, vocabulary: 1000 },
    info: { tensors: new Map([['all', { type: TYPE.F32, ne: [weights, MIB / 4, 1, 1] }]]) }
  }) as unknown as Model
const asked: Answering = { count: 1000, contextTokens: 256 }
const fixed = 1 // MiB of decoding: a micro batch and the rows of the vocabulary

describe('as many at once', () => {
  test.each([
    ['as half of the memory holds', 100, 256, 49],
    ['as fit beside the weights', 600, 256, 24],
    ['as one, when nothing more fits', 795, 256, 1]
  ])('%s', (_, weights, contextTokens, width) => {
    const plan = planAnswering(modelOf(weights), { ...asked, contextTokens })
    expect(plan.cacheType).toBe('f16')
    expect(plan.width).toBe(width)
    expect(plan.bytes.weights).toBe(weights * MIB)
    expect(plan.fits).toBe(weights < 790)
    expect(plan.totalBytes).toBe(Object.values(plan.bytes).reduce((sum, it) => sum + it, 0))
  })

  test('as there are answers, and as somebody says, however much that takes', () => {
    expect(planAnswering(modelOf(100), { ...asked, count: 3 }).width).toBe(3)
    const wide = planAnswering(modelOf(100), { ...asked, width: 200 })
    expect(wide.width).toBe(200)
    expect(wide.bytes['KV cache']).toBe(200 * 8 * MIB)
    expect(wide.fits).toBe(false)
  })
})

test('the smaller cache comes where one answer would not fit otherwise, and where the heads allow it', () => {
  const long = { ...asked, contextTokens: 256 * 70 } // 560 MiB in F16, 298 in Q8_0
  expect(planAnswering(modelOf(100), long)).toMatchObject({ cacheType: 'q8_0', width: 1, fits: true })
  expect(planAnswering(modelOf(100, 16), long)).toMatchObject({ cacheType: 'f16', width: 1 })
  expect(() => planAnswering(modelOf(100, 16), { ...long, cacheType: 'q8_0' })).toThrow(/^cache_type is q8_0/)
})

test('of models that answer in turn the width is one that each has room for, and the bytes are the largest one’s', () => {
  const [small, large] = [planAnswering(modelOf(100), asked), planAnswering(modelOf(600), asked)]
  expect([small.width, large.width]).toEqual([49, 24])
  expect(planAnsweringInTurn([modelOf(100), modelOf(600)], asked)).toEqual(large)
  expect(planAnsweringInTurn([modelOf(600), modelOf(100)], asked)).toEqual(large)
  expect(planAnsweringInTurn([modelOf(100)], asked)).toEqual(small)
  const long = { ...asked, contextTokens: 256 * 60 } // the large one has room for Q8_0 only
  expect(planAnsweringInTurn([modelOf(100)], { ...long, contextTokens: 256 * 30 }).cacheType).toBe('f16')
  expect(planAnsweringInTurn([modelOf(100), modelOf(600)], { ...asked, contextTokens: 256 * 30 }).cacheType).toBe(
    'q8_0'
  )
})

test('the smaller cache is taken only where the heads of every model can be kept in it', () => {
  const long = { ...asked, contextTokens: 256 * 30 } // beside 600 MiB of weights there is room for Q8_0 only
  for (const models of [
    [modelOf(600), modelOf(100, 16)],
    [modelOf(100, 16), modelOf(600)]
  ]) {
    const plan = planAnsweringInTurn(models, long)
    expect(plan).toMatchObject({ cacheType: 'f16', width: 1, fits: false })
    expect(plan).toEqual(planAnswering(modelOf(600), { ...long, cacheType: 'f16', width: 1 }))
  }
  expect(() => planAnsweringInTurn([modelOf(600), modelOf(100, 16)], { ...long, cacheType: 'q8_0' })).toThrow(
    /^cache_type is q8_0/
  )
})

test.each([
  ['the base', 900, {}, {}, /^Choose a smaller base/],
  ['the width somebody named', 100, { width: 200 }, { rollout_width: 200 }, /^Lower rollout_width \(200\)/],
  ['the length', 100, { contextTokens: 256 * 200 }, {}, /^Lower max_completion_length/]
])('what does not fit is refused with what to change: %s', (_, weights, more, recipe, hint) => {
  const plan = planAnswering(modelOf(weights), { ...asked, ...more })
  const refused = (): void => requireAnswering(plan, { rollout_width: undefined, ...recipe })
  expect(refused).toThrow(/needs [\d.]+ MiB, 800\.0 MiB are allowed/)
  try {
    refused()
  } catch (error) {
    expect((error as AppError).code).toBe('memory')
    expect((error as AppError).hint).toMatch(hint)
  }
})

test('what fits passes', () => {
  const plan = planAnswering(modelOf(100), asked)
  expect(plan.bytes.decoding / MIB).toBeLessThan(fixed + 2)
  expect(() => requireAnswering(plan, { rollout_width: undefined })).not.toThrow()
})
