/** Wᵀ made layer by layer gives the gradients of Wᵀ kept, to the last bit, in less memory. */
import { test } from 'vitest'
import { openBackend } from '../../src/main/engine/backend.ts'
import type { Keep } from '../../src/main/engine/activations.ts'
import { loadModel } from '../../src/main/engine/model.ts'
import { temporaryFolder } from './folder.ts'
import { owner } from './owner.ts'
import { writeQuantised } from './quantised.ts'
import type { FamilyName } from './tiny-families.ts'
import type { FileType } from './quantised.ts'
import { expectSameByLayer } from './transposes.ts'

const own = owner()
const folder = temporaryFolder()

test.each([
  ['F32', 'llama', 'all', 'adapter'],
  ['F16', 'llama', 'all', 'adapter'],
  ['Q8_0', 'llama', 'none', 'adapter'],
  ['Q4_K', 'llama', 'none', 'adapter'],
  ['Q4_K', 'Phi-4', 'all', 'adapter'],
  ['F32', 'llama', 'none', 'full']
] as const satisfies [FileType, FamilyName, Keep, string][])(
  '%s of %s, keep %s, training %s',
  async (type, family, keep, training) => {
    const maker = openBackend({ threads: 1 })
    const path = writeQuantised(maker, folder, type, family)
    maker.dispose()
    const model = own(await loadModel(path, own.backend(), { writable: training === 'full' }))
    await expectSameByLayer(own, model, { keep, training, lengths: [40, 23] })
  }
)
