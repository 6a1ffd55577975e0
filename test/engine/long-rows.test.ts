/** Memory grows with the length of a row, not with its square: planned to 32k tokens, taken at 8k. */
import { join } from 'node:path'
import { beforeAll, expect, test } from 'vitest'
import { openBackend } from '../../src/main/engine/backend.ts'
import { loadModel } from '../../src/main/engine/model.ts'
import { temporaryFolder } from './folder.ts'
import { plansFor, takenBy, writeSlimModel } from './long-rows.ts'
import { owner } from './owner.ts'

const own = owner()
const slim = join(temporaryFolder(), 'slim.gguf')

beforeAll(() => {
  const backend = openBackend({ threads: 1 })
  writeSlimModel(backend, slim)
  backend.dispose()
})

test('from 16k to 32k tokens the plan grows by twice of what it grows by from 8k to 16k', async () => {
  const model = own(await loadModel(slim, own.backend()))
  for (const which of [0, 1] as const) {
    const [a, b, c] = [8192, 16384, 32768].map((tokens) => {
      const { totalBytes, bytes } = plansFor(model, tokens)[which]
      return totalBytes - bytes.process // which is the same for every row
    })
    expect((c! - b!) / (b! - a!)).toBeCloseTo(2, 2) // 4 if it were the square
    expect(c! / a!).toBeGreaterThan(3.9) // nothing constant hides the growth
  }
})

test('a forward and backward over 8k tokens takes what the plan says', async () => {
  const { planned, counted } = await takenBy(own, own(await loadModel(slim, own.backend())), 8192)
  expect(Math.abs(counted / planned - 1)).toBeLessThan(0.01)
})
