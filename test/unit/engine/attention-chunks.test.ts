/** Attention's chunks and masks against their definition: who sees whom, token by token. */
import { describe, expect, test } from 'vitest'
import { seeded } from '../../../src/shared/random.ts'
import { chunkBounds, keyCount, maskOf } from '../../../src/main/engine/attention-chunks.ts'
import { pack } from '../../../src/main/engine/batch.ts'
import type { PackedBatch, TrainSequence } from '../../../src/main/engine/batch.ts'

/** Rows as runs have them: sequences of their own, and groups of several lengths that share a prompt. */
function randomRow(seed: number): PackedBatch {
  const random = seeded('chunks', seed)
  const sequence = (prompt: Int32Array | undefined, length: number): TrainSequence => {
    const tokens = new Int32Array((prompt?.length ?? 0) + length).fill(7)
    return { tokens, mask: new Uint8Array(tokens.length), prompt }
  }
  const sequences = Array.from({ length: 4 }, (_, i) => {
    const prompt = new Int32Array(random.integer(2, 200)).fill(i + 1)
    return random.integer(0, 1) === 0
      ? [sequence(undefined, random.integer(1, 150))]
      : Array.from({ length: random.integer(2, 5) }, () => sequence(prompt, random.integer(1, 90)))
  })
  return pack(sequences.flat(), 4096)[0]!
}

/** Query q of a row sees key k: before it in the same sequence or in its prompt, and within the window. */
function sees(row: PackedBatch, query: number, key: number, window: number): boolean {
  const own = key >= row.starts[query]! && key <= query
  const shared = key >= row.prefixStarts[query]! && key < row.prefixEnds[query]!
  const near = window === 0 || row.positions[query]! - row.positions[key]! < window
  return (own || shared) && near
}

describe.each([0, 1, 17, 100])('a window of %i', (window) => {
  test.each([1, 7, 64, 256, 5000])('chunks of %i queries: every pair that sees each other, and no other', (queries) => {
    for (let seed = 0; seed < 3; seed++) {
      const row = randomRow(seed)
      const seen = new Set<number>()
      const tokens = row.tokens.length
      let at = 0
      for (const chunk of chunkBounds(row, queries, window)) {
        expect(chunk.start).toBe(at)
        expect(chunk.keys.at(-1)!.end).toBe(chunk.end)
        at = chunk.end
        const mask = maskOf(row, chunk, window)
        const m = keyCount(chunk)
        expect(mask).toHaveLength(m * (chunk.end - chunk.start))
        for (let query = chunk.start; query < chunk.end; query++) {
          let column = (query - chunk.start) * m
          for (const { start, end } of chunk.keys)
            for (let key = start; key < end; key++) if (mask[column++] === 0) seen.add(query * tokens + key)
        }
      }
      expect(at).toBe(tokens)
      const expected = new Set<number>()
      for (let query = 0; query < tokens; query++)
        for (let key = 0; key <= query; key++) if (sees(row, query, key, window)) expected.add(query * tokens + key)
      expect(seen.size).toBe(expected.size)
      expect([...expected].every((pair) => seen.has(pair))).toBe(true)
    }
  })
})

test('a chunk of rollouts far behind their prompt meets the prompt and its own keys, not what lies between', () => {
  const prompt = new Int32Array(128).fill(1)
  const members = Array.from({ length: 8 }, (): TrainSequence => {
    const tokens = new Int32Array(128 + 200)
    return { tokens, mask: new Uint8Array(tokens.length), prompt }
  })
  const last = chunkBounds(pack(members, 4096)[0]!, 64, 0).at(-1)!
  expect(last.keys).toHaveLength(2)
  expect(keyCount(last)).toBeLessThan(128 + 64 + 200 + 64 + 64)
})
