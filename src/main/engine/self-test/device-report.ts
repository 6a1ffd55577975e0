/** One GPU, tried: what it is, whether it computes right, how fast; and the sentence that refuses it, if it is refused. */
import { AppError } from '../../../shared/errors.ts'
import { openBackend } from '../backend.ts'
import type { Backend } from '../backend.ts'
import { cudaChip } from '../cuda-chip.ts'
import { hasGpu, loadNative } from '../ffi/libraries.ts'
import type { Gpu } from '../ffi/libraries.ts'
import { driverHint, missingLibraries } from '../missing-libraries.ts'
import { bestRate } from './gemm-rate.ts'
import { selfTest } from './self-test.ts'

export type DeviceReport = {
  readonly gpu: Gpu
  /** `CUDA0` and what the driver calls it. */
  readonly name: string
  readonly description: string
  readonly build: string
  /** Null where the backend does not tell. */
  readonly driver: string | null
  readonly computeCapability: string | null
  readonly freeMemory: number
  readonly unusedGpus: readonly string[]
  readonly selfTest: { readonly logprobs: number; readonly gradients: number; readonly bound: number }
  /** GFLOP/s of F32 products: of this device, of this machine's CPU with all threads, and what the chip can do. */
  readonly rate: number
  readonly cpuRate: number
  readonly peak: number | null
}

/** What the process that tries a device sends to the one that asked. */
export type TrialAnswer =
  | { readonly report: DeviceReport }
  | { readonly failed: { readonly message: string; readonly hint: string | undefined } }

/** A working chip reaches a third of its peak at least; this little says that something is broken. */
const LEAST_OF_PEAK = 0.05
/** Training on a device slower than this share of the CPU's rate would lose time against no device at all. */
const LEAST_OF_CPU = 0.5

/** Set, it lets a device be used that is too slow: for trying software devices out. */
export const ALLOW_SLOW = 'REASONSMITH_ALLOW_SLOW_DEVICE'

/** Opens the GPU's build in this process and tries it. Throws AppError('device') when there is no device to try. */
export async function reportDevice(gpu: Gpu, threads?: number): Promise<DeviceReport> {
  const missing = missingLibraries(gpu)
  if (missing)
    throw new AppError('device', `${gpu} cannot be used: ${missing.libraries.join(' and ')} not found`, missing.install)
  const some = threads === undefined ? {} : { threads }
  const backend = openFound(gpu, some)
  try {
    const { logprobs, gradients, bound } = await selfTest(backend)
    const cpu = openBackend(some)
    try {
      const chip = gpu === 'cuda' ? cudaChip(Number(/\d+$/.exec(backend.name)?.[0] ?? 0)) : null
      return {
        gpu,
        name: backend.name,
        description: backend.description,
        build: backend.native.folder.split(/[\\/]/).at(-1)!,
        driver: chip?.driver ?? null,
        computeCapability: chip?.computeCapability ?? null,
        freeMemory: backend.freeAtOpen,
        unusedGpus: backend.unusedGpus,
        selfTest: { logprobs, gradients, bound },
        rate: bestRate(backend),
        cpuRate: bestRate(cpu),
        peak: chip?.peak ?? null
      }
    } finally {
      cpu.dispose()
    }
  } finally {
    backend.dispose()
  }
}

/** A loader without a driver behind it, or a GPU that is switched off, has libraries and no device. */
function openFound(gpu: Gpu, some: { threads?: number }): Backend {
  const native = loadNative(gpu)
  if (hasGpu(native.ggml, native.registry)) return openBackend({ gpu, ...some })
  throw new AppError(
    'device',
    `${gpu} cannot be used: its libraries are here, but they show no device`,
    driverHint(gpu)
  )
}

/** Why this device is not to be used, in plain words; null when it may be. */
export function refusal(report: DeviceReport, allowSlow = process.env[ALLOW_SLOW] !== undefined): string | null {
  const { name, description, selfTest: test, rate, cpuRate, peak } = report
  const it = `${name} (${description})`
  const number = (value: number): string => (value < 10 ? value.toPrecision(2) : value.toFixed(0))
  // written so that a NaN refuses
  if (!(test.logprobs <= test.bound && test.gradients <= test.bound))
    return `${it} computes wrong: log-probabilities are off by ${test.logprobs.toExponential(1)}, gradients by ${test.gradients.toExponential(1)} (bound ${test.bound.toExponential(0)})`
  if (allowSlow) return null
  if (peak !== null && !(rate >= LEAST_OF_PEAK * peak))
    return `${it} is far too slow: F32 products at ${number(rate)} GFLOP/s, where this chip can do ${number(peak)}; it may be throttled or used by another program`
  if (!(rate >= LEAST_OF_CPU * cpuRate))
    return `${it} is too slow: F32 products at ${number(rate)} GFLOP/s, where the CPU of this machine does ${number(cpuRate)}`
  return null
}
