/** Memory of real passes over 8k, 16k and 32k tokens: counted by the engine and seen by the operating system. */
import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { beforeAll, expect, test } from 'vitest'
import { openBackend } from '../../src/main/engine/backend.ts'
import { temporaryFolder } from './folder.ts'
import { writeSlimModel } from './long-rows.ts'
import type { Taken } from './long-rows.ts'

const FIXTURE = join(import.meta.dirname, 'long-rows.fixture.ts')
const slim = join(temporaryFolder(), 'slim.gguf')
const MIB = 2 ** 20

beforeAll(() => {
  const backend = openBackend({ threads: 1 })
  writeSlimModel(backend, slim)
  backend.dispose()
})

/** What V8 takes and gives back meanwhile: seen up to 25 MiB from run to run. */
const HEAP_MIB = 32
const taken: { tokens: number; counted: number }[] = []

test.each([8192, 16384, 32768])('%i tokens', async (tokens) => {
  const { stdout } = await promisify(execFile)(process.execPath, [FIXTURE, slim, String(tokens)])
  const { planned, counted, described, grown } = JSON.parse(stdout) as Taken
  console.log(
    `${tokens} tokens: planned ${(planned / MIB).toFixed(1)}, counted ${(counted / MIB).toFixed(1)}, described ${(described / MIB).toFixed(1)}, grown ${(grown / MIB).toFixed(1)} MiB`
  )
  expect(Math.abs(counted / planned - 1)).toBeLessThan(0.01)
  expect(Math.abs(grown - planned - described) / MIB).toBeLessThan(HEAP_MIB)
  taken.push({ tokens, counted })
})

test('what is counted grows with the length', () => {
  const [a, b, c] = taken
  const growth = (c!.counted - b!.counted) / (b!.counted - a!.counted)
  expect(growth).toBeGreaterThan(1.6)
  expect(growth).toBeLessThan(2.4)
})
