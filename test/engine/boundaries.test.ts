/** Boundaries in host memory, here where the host is the device: what crosses over is in test/device. */
import { join } from 'node:path'
import { beforeAll, test } from 'vitest'
import { openBackend } from '../../src/main/engine/backend.ts'
import { loadModel } from '../../src/main/engine/model.ts'
import { expectSameOnHost } from './boundaries.ts'
import { temporaryFolder } from './folder.ts'
import { owner } from './owner.ts'
import { TINY, writeTinyModel } from './tiny-model.ts'

const own = owner()
const folder = temporaryFolder()

beforeAll(() => {
  const backend = openBackend({ threads: 1 })
  for (const layers of [1, 2, 5]) writeTinyModel(backend, join(folder, `${layers}.gguf`), { ...TINY, layers })
  backend.dispose()
})

test.each([
  [1, 'none', false],
  [2, 'none', false],
  [5, 'none', false],
  [5, 'none', true],
  [5, 'all', false]
] as const)('%i layers, keep %s, whole batch %s', async (layers, keep, wholeBatch) => {
  const model = own(await loadModel(join(folder, `${layers}.gguf`), own.backend()))
  await expectSameOnHost(own, model, { keep, wholeBatch, lengths: [[40], [23]] })
})
