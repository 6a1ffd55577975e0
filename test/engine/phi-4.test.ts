/** What a model of 14.7 billion weights needs on a device of 24 GiB, on paper: the plan that a run on it would say. */
import { expect, test } from 'vitest'
import { modulesOf } from '../../src/main/engine/arch/targets.ts'
import { planMemory } from '../../src/main/engine/memory.ts'
import type { Plan } from '../../src/main/engine/memory-plan.ts'
import { owner } from './owner.ts'
import { phi4 } from './phi-4.ts'

const own = owner()
const MIB = 2 ** 20
const GIB = 2 ** 30
/** Rows are planned in steps of this many tokens. */
const STEP = 1024

/** The CPU counts for a GPU with memory of its own and kernels for everything: nothing is computed. */
function planOn(): (tokens: number, limitBytes: number) => Plan {
  const cpu = own.backend()
  const backend = { ...cpu, isCpu: false, ownsMemory: true, outerRank: 0, flashInF32: false }
  const model = phi4()
  const trained = { kind: 'lora', r: 16, targets: modulesOf(model.architecture) } as const
  return (tokens, limitBytes) => planMemory(backend, model, { trained, tokens, limitBytes, hostLimitBytes: 64 * GIB })
}

test('the header is of a Q4_K_M file of 8.43 GiB', () => {
  expect(phi4().info.bytes / GIB).toBeCloseTo(8.43, 2)
})

// The numbers are in docs/benchmarks/LOG.md: what changes one of them changes it there.
test.each([
  ['all of 24 GiB', 24, 68],
  ['the default share of it', 0.8 * 24, 43]
])('the longest row on %s, LoRA r16', (_, gib, longest) => {
  const plan = planOn()
  const fitting = plan(longest * STEP, gib * GIB)
  expect(fitting.fits).toBe(true)
  expect(fitting.settings).toMatchObject({
    keep: 'none',
    transposes: 'per layer',
    boundaries: 'host',
    chunkTokens: 512,
    chunkQueries: 64
  })
  expect(plan((longest + 1) * STEP, gib * GIB).fits).toBe(false)
})

test.each([
  ['all of 24 GiB', 24, { chunkTokens: 2048, chunkQueries: 256 }, 4102, 19.98],
  ['the default share of it', 0.8 * 24, { chunkTokens: 512, chunkQueries: 64 }, 1147, 17.01]
])('32k tokens fit %s: layers are computed in chunks of tokens', (_, gib, chunks, scratch, total) => {
  const plan = planOn()(32768, gib * GIB)
  expect(plan.fits).toBe(true)
  expect(plan.settings).toMatchObject({ keep: 'none', transposes: 'per layer', boundaries: 'host', ...chunks })
  expect(plan.reasons).toContain(
    `layers are computed ${chunks.chunkTokens} tokens at a time: whole rows of 32768 would not fit`
  )
  expect(plan.bytes.scratch / MIB).toBeCloseTo(scratch, 0)
  expect(plan.totalBytes / GIB).toBeCloseTo(total, 1)
  expect(plan.hostBytes / GIB).toBeCloseTo(24.4, 1)
})
