/** Boundaries cross to the host's memory and back unchanged. */
import { beforeAll, expect, test } from 'vitest'
import { openBackend } from '../../src/main/engine/backend.ts'
import { loadModel } from '../../src/main/engine/model.ts'
import { expectSameOnHost } from '../engine/boundaries.ts'
import { temporaryFolder } from '../engine/folder.ts'
import { owner } from '../engine/owner.ts'
import { writeQuantised } from '../engine/quantised.ts'

const own = owner()
const folder = temporaryFolder()
let path = ''

beforeAll(() => {
  const backend = openBackend({ threads: 1 })
  path = writeQuantised(backend, folder, 'Q8_0')
  backend.dispose()
})

test.each([
  ['two sequences in a row', [[27, 13]]],
  ['one sequence in a row', [[40]]],
  ['two rows', [[27, 13], [20]]]
] as const)('boundaries in host memory leave gradients as they are: %s', async (_, lengths) => {
  const backend = own.backend()
  expect(backend.hostBufferType).not.toBe(backend.bufferType)
  const model = own(await loadModel(path, backend))
  await expectSameOnHost(own, model, { keep: 'none', wholeBatch: false, lengths })
})
