/** The self-test of a device: it passes here, and it notices arithmetic that is a little wrong. */
import { expect, test } from 'vitest'
import type { Backend } from '../../src/main/engine/backend.ts'
import { findGpu } from '../../src/main/engine/device.ts'
import { runDoctor } from '../../src/main/engine/doctor.ts'
import { selfTest } from '../../src/main/engine/self-test/self-test.ts'
import { owner } from './owner.ts'

const own = owner()

test('one layer agrees with double precision to F32 rounding', async () => {
  const result = await selfTest(own.backend())
  expect(result.passes).toBe(true)
  expect(result.logprobs).toBeLessThan(1e-5)
  expect(result.gradients).toBeLessThan(1e-5)
})

/** A backend on which one operation computes something else. */
function broken(backend: Backend, operation: string, change: (args: unknown[]) => unknown[]): Backend {
  const real = backend.native.ggml[operation as 'scale']
  const ggml = { ...backend.native.ggml, [operation]: (...args: unknown[]) => real(...change(args)) }
  return Object.create(backend, { native: { value: { ...backend.native, ggml } } }) as Backend
}

test.each([
  ['a scale that is 1 ‰ off', 'scale', ([c, a, factor]: unknown[]) => [c, a, (factor as number) * 1.001]],
  ['a norm with another ε', 'rms_norm', ([c, a]: unknown[]) => [c, a, 1e-2]],
  ['a softmax without its mask', 'soft_max_ext', ([c, a, _, ...rest]: unknown[]) => [c, a, null, ...rest]]
])('%s does not pass', async (_, operation, change) => {
  const result = await selfTest(broken(own.backend(), operation, change))
  expect(result.passes).toBe(false)
})

test('the report says what there is and what was not tried', async () => {
  const context = { emit: () => undefined, signal: new AbortController().signal, runDir: '' }
  const report = (await runDoctor({ device: 'auto', threads: 1 }, context)) as {
    lines: string[]
    gemm: Record<string, number>
  }
  expect(JSON.parse(JSON.stringify(report))).toEqual(report) // it goes over the wire
  for (const rate of Object.values(report.gemm)) expect(rate).toBeGreaterThan(0)
  const text = report.lines.join('\n')
  for (const word of ['CPU', 'self-test', 'llama', 'GPU', 'This machine trains on CPU']) expect(text).toContain(word)
})

test('node-llama-cpp answers which GPU fits', async () => {
  const { gpu, devices, words } = await findGpu()
  if (gpu !== null) expect(devices.length).toBeGreaterThan(0)
  expect(words.join()).not.toContain('could not be asked')
})
