/** Which devices are refused, and what a person is told: from what was measured and from what could not be opened. */
import { expect, test } from 'vitest'
import { missingLibraries } from '../../../src/main/engine/missing-libraries.ts'
import { refusal } from '../../../src/main/engine/self-test/device-report.ts'
import type { DeviceReport } from '../../../src/main/engine/self-test/device-report.ts'

const GOOD: DeviceReport = {
  gpu: 'cuda',
  name: 'CUDA0',
  description: 'NVIDIA Some',
  build: 'linux-x64-cuda',
  driver: '580.1, CUDA 13.0',
  computeCapability: '9.0',
  freeMemory: 2 ** 34,
  unusedGpus: [],
  selfTest: { logprobs: 1e-4, gradients: 1e-3, bound: 2e-2 },
  rate: 20_000,
  cpuRate: 100,
  peak: 60_000
}

test('a device that agrees and is fast is used', () => expect(refusal(GOOD, false)).toBeNull())

test.each([
  ['wrong log-probabilities', { selfTest: { ...GOOD.selfTest, logprobs: 0.2 } }, /computes wrong: .* off by 2\.0e-1/],
  ['wrong gradients', { selfTest: { ...GOOD.selfTest, gradients: 3 } }, /gradients by 3\.0e\+0 \(bound 2e-2\)/],
  ['no numbers', { selfTest: { ...GOOD.selfTest, logprobs: NaN } }, /computes wrong/],
  ['a throttled chip', { rate: 500 }, /far too slow: F32 products at 500 GFLOP\/s, where this chip can do 60000/],
  [
    'slower than the CPU',
    { peak: null, rate: 0.1 },
    /too slow: F32 products at 0\.10 GFLOP\/s, where the CPU .* does 100/
  ],
  ['no rate', { peak: null, rate: NaN }, /too slow/]
])('%s is refused in words', (_, change, words) => {
  const said = refusal({ ...GOOD, ...change }, false)
  expect(said).toMatch(words)
  expect(said).toMatch(/^CUDA0 \(NVIDIA Some\) /)
})

test('what is only slow can be allowed; what is wrong cannot', () => {
  expect(refusal({ ...GOOD, rate: 1 }, true)).toBeNull()
  expect(refusal({ ...GOOD, selfTest: { ...GOOD.selfTest, gradients: 3 } }, true)).toMatch(/computes wrong/)
})

const opens =
  (...present: readonly string[]) =>
  (name: string) =>
    present.includes(name)

test.each([
  [['libcuda.so.1', 'libcudart.so.13', 'libcublas.so.13'], null, null],
  [['libcuda.so.1', 'libcudart.so.12', 'libcublas.so.12'], null, null],
  [['libcuda.so.1', 'libcudart.so.13', 'libcublas.so.12'], ['libcublas.so.13'], /cuda-cudart-13/],
  [['libcuda.so.1'], ['libcudart.so.13', 'libcublas.so.13'], /libcublas-13/],
  [['libcudart.so.13', 'libcublas.so.13'], ['libcuda.so.1'], /NVIDIA driver/]
])('CUDA on Linux with %s: missing %s', (present, libraries, install) => {
  const missing = missingLibraries('cuda', opens(...present), 'linux')
  expect(missing?.libraries ?? null).toEqual(libraries)
  if (install) expect(missing!.install).toMatch(install)
})

test('Vulkan needs its loader, Metal nothing', () => {
  expect(missingLibraries('vulkan', opens(), 'linux')).toMatchObject({ libraries: ['libvulkan.so.1'] })
  expect(missingLibraries('vulkan', opens('vulkan-1.dll'), 'win32')).toBeNull()
  expect(missingLibraries('metal', opens(), 'darwin')).toBeNull()
})
