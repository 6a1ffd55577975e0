/**
 * The peak that a process reaches against the plan, on the bundled base and on random bases of every other architecture, large
 * enough that sizes count and not what Node happens to hold. Needs Linux, which tells a process its peak. Measured: 0.95 to
 * 1.07 of the plan.
 */
import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { beforeAll, describe, expect, test } from 'vitest'
import { openBackend } from '../../src/main/engine/backend.ts'
import { TYPE } from '../../src/main/engine/tensor.ts'
import { temporaryFolder } from './folder.ts'
import type { Asked, Seen } from './memory-peak.fixture.ts'
import { FAMILIES } from './tiny-families.ts'
import type { FamilyName, TinyFamily } from './tiny-families.ts'
import { writeFamily } from './tiny-model.ts'

const FIXTURE = join(import.meta.dirname, 'memory-peak.fixture.ts')
const BUNDLED = join(import.meta.dirname, '../../resources/base/base.gguf')
const folder = temporaryFolder()
const SHAPE = {
  layers: 12,
  width: 576,
  feedForward: 1728,
  heads: 9,
  keyHeads: 3,
  headDim: 64,
  vocabulary: 8000,
  contextLength: 1024
}
const BASES = {
  qwen2: ['qwen2', TYPE.F32],
  qwen3: ['qwen3', TYPE.F16],
  phi3: ['Phi-4', TYPE.Q4_0],
  gemma3: ['gemma3', TYPE.Q8_0]
} as const satisfies Readonly<Record<string, readonly [FamilyName, number]>>
const names = Object.keys(BASES) as (keyof typeof BASES)[]
const pathOf = (name: string): string => join(folder, `${name}.gguf`)

const ROWS = [
  ['SFT, activations kept', { keep: 'all', transposes: 'cached' }],
  ['SFT, activations computed again', { keep: 'none', transposes: 'per layer' }],
  ['GRPO, 16 rollouts and a row', { keep: 'all', transposes: 'cached', width: 16 }]
] as const

const MIB = 2 ** 20
const elsewhere = process.platform !== 'linux'

beforeAll(() => {
  if (elsewhere) return
  const backend = openBackend({ threads: 1 })
  for (const name of names) {
    const [family, type] = BASES[name]
    const { shape, ...rest }: TinyFamily = FAMILIES[family]
    writeFamily(backend, pathOf(name), { ...rest, shape: { ...shape, ...SHAPE } }, { type })
  }
  backend.dispose()
}, 300_000)

async function seen(asked: Asked): Promise<Seen> {
  const { stdout } = await promisify(execFile)(process.execPath, ['--expose-gc', FIXTURE, JSON.stringify(asked)])
  return JSON.parse(stdout) as Seen
}

describe.skipIf(elsewhere).each(names)('%s', (name) => {
  test.each(ROWS)('%s: the peak is within 10 %% of the plan (skipped outside Linux)', async (what, settings) => {
    const { planned, peak } = await seen({ base: pathOf(name), tokens: 1024, ...settings })
    if (what !== 'SFT, activations computed again') expect(planned / MIB).toBeGreaterThan(300)
    expect(peak / planned).toBeGreaterThan(0.9)
    expect(peak / planned).toBeLessThan(1.1)
  })
})

/** Of a few MiB nearly all is the process itself, of which a plan knows a round number only. */
test.skipIf(elsewhere).each(ROWS)(
  'the bundled base, %s: the peak is within 12 MiB of the plan (skipped outside Linux)',
  async (_, settings) => {
    const { planned, peak } = await seen({ base: BUNDLED, tokens: 512, ...settings })
    expect(Math.abs(peak - planned) / MIB).toBeLessThan(12)
  }
)
