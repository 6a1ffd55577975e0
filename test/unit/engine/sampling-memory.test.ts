import { expect, test } from 'vitest'
import type { ModelConfig } from '../../../src/main/engine/arch/architecture.ts'
import { cacheBytes, decodingBytes, widthWithin } from '../../../src/main/engine/sampling-memory.ts'

const config = { layers: 3, headDim: 16, keyHeads: 2, vocabulary: 1000 } as ModelConfig

test.each([1, 7, 32])(
  'the width that fits the bytes of %i sequences is that, and one less with a byte less',
  (width) => {
    const bytes = cacheBytes(config, { width, contextTokens: 300 }) + decodingBytes(config, width)
    expect(widthWithin(config, 300, bytes)).toBe(width)
    expect(widthWithin(config, 300, bytes - 1)).toBe(width - 1)
    expect(widthWithin(config, 300, 0)).toBe(0)
  }
)
