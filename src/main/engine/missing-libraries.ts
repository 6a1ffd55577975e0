/** The shared libraries that a GPU build needs beside its own, which of them are missing, and what to install. */
import koffi from 'koffi'
import type { Gpu } from './ffi/libraries.ts'

/** Each entry is a set of alternatives; every library of one alternative is needed. As `readelf -d` lists them. */
type Needed = {
  readonly driver: readonly string[]
  readonly runtimes: readonly (readonly string[])[]
  readonly install: { readonly driver: string; readonly runtime: string }
}

const CUDA_INSTALL = {
  driver: 'Install the NVIDIA driver (580 or later for CUDA 13, 525 or later for CUDA 12).',
  runtime:
    'Install the CUDA 13 or 12 runtime from NVIDIA; on Debian and Ubuntu: cuda-cudart-13-0 and libcublas-13-0, or cuda-cudart-12-8 and libcublas-12-8.'
}
const VULKAN_INSTALL = {
  driver: 'Install the Vulkan loader and a driver for the GPU; on Debian and Ubuntu: libvulkan1 mesa-vulkan-drivers.',
  runtime: ''
}

/** By platform and GPU type. The build of CUDA 13 is tried first, then the one of CUDA 12. */
const NEEDED: Readonly<Record<string, Partial<Readonly<Record<Gpu, Needed>>>>> = {
  linux: {
    cuda: {
      driver: ['libcuda.so.1'],
      runtimes: [
        ['libcudart.so.13', 'libcublas.so.13'],
        ['libcudart.so.12', 'libcublas.so.12']
      ],
      install: CUDA_INSTALL
    },
    vulkan: { driver: ['libvulkan.so.1'], runtimes: [], install: VULKAN_INSTALL }
  },
  win32: {
    cuda: {
      driver: ['nvcuda.dll'],
      runtimes: [
        ['cudart64_13.dll', 'cublas64_13.dll'],
        ['cudart64_12.dll', 'cublas64_12.dll']
      ],
      install: CUDA_INSTALL
    },
    vulkan: { driver: ['vulkan-1.dll'], runtimes: [], install: VULKAN_INSTALL }
  }
}

/** What a person installs when the libraries are there and still no device shows. */
export const driverHint = (gpu: Gpu, platform: string = process.platform): string =>
  NEEDED[platform]?.[gpu]?.install.driver ?? `This machine has no ${gpu} device.`

export type Missing = { readonly libraries: readonly string[]; readonly install: string }

/** Null when everything can be opened, or when the platform needs nothing beside the build. */
export function missingLibraries(
  gpu: Gpu,
  opens: (name: string) => boolean = canOpen,
  platform: string = process.platform
): Missing | null {
  const needed = NEEDED[platform]?.[gpu]
  if (!needed) return null
  const without = (names: readonly string[]): string[] => names.filter((name) => !opens(name))
  const driver = without(needed.driver)
  if (driver.length > 0) return { libraries: driver, install: needed.install.driver }
  const lacking = needed.runtimes.map(without)
  if (lacking.length === 0 || lacking.some((names) => names.length === 0)) return null
  return { libraries: lacking[0]!, install: needed.install.runtime }
}

function canOpen(name: string): boolean {
  try {
    koffi.load(name)
    return true
  } catch {
    return false
  }
}
