/** What NVIDIA's driver says of a GPU: its compute capability, and how fast its F32 units can be. */
import { readFileSync } from 'node:fs'
import koffi from 'koffi'

export type CudaChip = {
  /** The driver, and the newest CUDA it runs. */
  readonly driver: string
  readonly computeCapability: string
  /** GFLOP/s of the plain F32 units at the highest clock; null for a chip that the table does not have. */
  readonly peak: number | null
}

/** F32 units of one multiprocessor by compute capability (CUDA C++ Programming Guide, arithmetic throughput). */
const UNITS: Readonly<Record<string, number>> = {
  '5.0': 128,
  '5.2': 128,
  '6.0': 64,
  '6.1': 128,
  '7.0': 64,
  '7.5': 64,
  '8.0': 64,
  '8.6': 128,
  '8.7': 128,
  '8.9': 128,
  '9.0': 128,
  '10.0': 128,
  '12.0': 128
}

/** cuda.h, CUdevice_attribute. */
const ATTRIBUTE = { clockKilohertz: 13, multiprocessors: 16, major: 75, minor: 76 } as const

/** Of device `index` as CUDA counts them. Null where the driver cannot be asked. */
export function cudaChip(index: number): CudaChip | null {
  try {
    const driver = koffi.load(process.platform === 'win32' ? 'nvcuda.dll' : 'libcuda.so.1')
    const initialise = driver.func('int cuInit(unsigned int)')
    const version = driver.func('int cuDriverGetVersion(_Out_ int*)')
    const attribute = driver.func('int cuDeviceGetAttribute(_Out_ int*, int, int)')
    const read = (call: (out: number[]) => unknown): number => {
      const out = [0]
      const status = call(out)
      if (status !== 0) throw new Error(`the CUDA driver answered ${String(status)}`)
      return out[0]!
    }
    if (initialise(0) !== 0) return null
    const cuda = read((out) => version(out) as unknown)
    const of = (which: number): number => read((out) => attribute(out, which, index) as unknown)
    const computeCapability = `${of(ATTRIBUTE.major)}.${of(ATTRIBUTE.minor)}`
    const units = UNITS[computeCapability]
    return {
      driver: [driverVersion(), `CUDA ${Math.floor(cuda / 1000)}.${Math.floor((cuda % 1000) / 10)}`]
        .filter(Boolean)
        .join(', '),
      computeCapability,
      // a multiply and an add at each clock
      peak:
        units === undefined ? null : (2 * units * of(ATTRIBUTE.multiprocessors) * of(ATTRIBUTE.clockKilohertz)) / 1e6
    }
  } catch {
    return null
  }
}

function driverVersion(): string | null {
  try {
    return /Kernel Module\D*(\d[\d.]+)/.exec(readFileSync('/proc/driver/nvidia/version', 'utf8'))?.[1] ?? null
  } catch {
    return null
  }
}
