/** Wᵀ made layer by layer on a device gives the gradients of Wᵀ kept there. */
import { beforeAll, test } from 'vitest'
import { openBackend } from '../../src/main/engine/backend.ts'
import { loadModel } from '../../src/main/engine/model.ts'
import { temporaryFolder } from '../engine/folder.ts'
import { owner } from '../engine/owner.ts'
import { writeQuantised } from '../engine/quantised.ts'
import { expectSameByLayer } from '../engine/transposes.ts'

const own = owner()
const folder = temporaryFolder()
const TYPES = ['F32', 'Q8_0'] as const
const paths = new Map<(typeof TYPES)[number], string>()

beforeAll(() => {
  const backend = openBackend({ threads: 1 })
  for (const type of TYPES) paths.set(type, writeQuantised(backend, folder, type))
  backend.dispose()
})

test.each(TYPES)('%s: rows of one sequence each, of two lengths', async (type) => {
  const model = own(await loadModel(paths.get(type)!, own.backend()))
  await expectSameByLayer(own, model, { keep: 'none', training: 'adapter', lengths: [40, 23] })
})
