import { expect, test } from 'vitest'
import { SftRecipe } from '../../../src/shared/recipe.ts'
import { pack } from '../../../src/main/engine/batch.ts'
import { batchSource, longestRow, rowTokens } from '../../../src/main/training/lessons.ts'
import type { Lesson } from '../../../src/main/training/lessons.ts'

const lessonOf = (length: number): Lesson => ({
  prompt: new Int32Array(1),
  tokens: new Int32Array(length).fill(length),
  mask: new Uint8Array(length)
})
const lessons = (count: number, from: number): Lesson[] => Array.from({ length: count }, (_, i) => lessonOf(from + i))

test.each([
  ['a batch of one, many held out', { train_batch_size: 1 }, lessons(20, 30), lessons(40, 20)],
  ['rows that are not packed, many held out', { packing: false }, lessons(20, 30), lessons(40, 20)],
  ['a batch that holds samples several times', { train_batch_size: 16 }, lessons(3, 50), []],
  ['held out is the longest sample', { train_batch_size: 2 }, lessons(20, 30), lessons(1, 300)],
  ['a sample longer than a row', { train_batch_size: 4, max_length: 4096 }, lessons(3, 1500), lessons(2, 700)]
])('no row of a run is longer than the rehearsed one: %s', (_, settings, train, heldOut) => {
  const recipe = SftRecipe.parse({ kind: 'sft', base: 'b', train: 't', output_dir: 'o', ...settings })
  const batchOf = batchSource(train, recipe)
  const batches = Array.from({ length: 40 }, (_, i) => batchOf(i + 1))
  const rows = [
    ...batches.flatMap((batch) =>
      recipe.packing
        ? pack(batch, rowTokens(batch, recipe))
        : batch.flatMap((lesson) => pack([lesson], lesson.tokens.length))
    ),
    ...pack(heldOut, rowTokens(heldOut, recipe))
  ]
  const longest = Math.max(...rows.map(({ tokens }) => tokens.length))
  const rehearsed = longestRow(train, heldOut, recipe)
  const [row] = pack([{ tokens: rehearsed, mask: new Uint8Array(rehearsed.length) }], rehearsed.length)
  expect(row!.tokens.length).toBeGreaterThanOrEqual(longest)
  expect(rehearsed.length).toBeLessThanOrEqual(Math.max(1024, recipe.max_length))
})
