/** The device that engine tests run on: the CPU, or the GPU type that the vitest project names. */
import { openBackend } from '../../src/main/engine/backend.ts'
import type { Gpu } from '../../src/main/engine/ffi/libraries.ts'

/** Set by vitest.config.ts. */
const DEVICE = process.env['REASONSMITH_TEST_DEVICE'] as Gpu | undefined

const WITHOUT: Readonly<Record<Gpu, string>> = {
  cuda: 'skipped: no NVIDIA GPU with driver, libcudart and libcublas here',
  vulkan: 'skipped: no Vulkan device here (on Debian: apt-get install libvulkan1 mesa-vulkan-drivers)',
  metal: 'skipped: no Metal device here'
}

/** `gpu` null is the CPU. `missing` says why the tests cannot run. */
export function testDevice(): { gpu: Gpu | null; missing: string | null } {
  const gpu = DEVICE ?? null
  try {
    openBackend({ gpu, threads: 1 }).dispose()
    return { gpu, missing: null }
  } catch (error) {
    return { gpu, missing: gpu === null ? String(error) : `${WITHOUT[gpu]} (${(error as Error).message})` }
  }
}

export const testedGpu: Gpu | null = DEVICE ?? null
