import { describe, expect, test } from 'vitest'
import type { ModelConfig } from '../../../src/main/engine/arch/architecture.ts'
import { cacheBytes, cacheWithin, decodingBytes, widthWithin } from '../../../src/main/engine/sampling-memory.ts'

const config = { layers: 3, width: 32, feedForward: 64, headDim: 16, keyHeads: 2, vocabulary: 1000 } as ModelConfig

describe.each(['f16', 'q8_0'] as const)('a cache in %s', (cacheType) => {
  const one = { contextTokens: 300, cacheType }
  test.each([1, 7, 32])(
    'the width that fits the bytes of %i sequences is that, and one less with a byte less',
    (width) => {
      const bytes = cacheBytes(config, { width, ...one }) + decodingBytes(config, width)
      expect(widthWithin(config, one, bytes)).toBe(width)
      expect(widthWithin(config, one, bytes - 1)).toBe(width - 1)
      expect(widthWithin(config, one, 0)).toBe(0)
    }
  )
})

test('blocks of 32 values in Q8_0 take 34 bytes, in F16 64', () => {
  const size = { width: 4, contextTokens: 300 }
  const values = 3 * 2 * 16 * 2 * 512 * 4
  expect(cacheBytes(config, size)).toBe(values * 2)
  expect(cacheBytes(config, { ...size, cacheType: 'q8_0' })).toBe((values / 32) * 34)
})

describe('a cache that nobody chose', () => {
  const headed = (headDim: number): ModelConfig => ({ ...config, headDim })
  const wide = headed(32)
  const needs = (cacheType: 'f16' | 'q8_0', of = wide): number =>
    cacheBytes(of, { width: 1, contextTokens: 300, cacheType }) + decodingBytes(of, 1)

  test.each([
    ['is F16 where one sequence fits so', needs('f16'), 'f16'],
    ['is Q8_0 where only that fits', needs('f16') - 1, 'q8_0'],
    ['is Q8_0 where that fits just so', needs('q8_0'), 'q8_0'],
    ['is F16 where neither fits', needs('q8_0') - 1, 'f16']
  ])('%s', (_, bytes, expected) => expect(cacheWithin(wide, 300, bytes)).toBe(expected))

  test('is F16 for heads that Q8_0 cannot hold', () =>
    expect(cacheWithin(headed(16), 300, needs('q8_0', headed(16)))).toBe('f16'))
})
