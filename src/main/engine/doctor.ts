/** `reasonsmith doctor`: what trains here, whether it computes right, how fast, and what was not tried. */
import { readFileSync } from 'node:fs'
import { cpus, freemem, totalmem } from 'node:os'
import { basename } from 'node:path'
import koffi from 'koffi'
import { AppError } from '../../shared/errors.ts'
import type { JobFunction } from '../../shared/worker-contract.ts'
import { ARCHITECTURE_NAMES } from './arch/index.ts'
import { openBackend } from './backend.ts'
import type { Backend } from './backend.ts'
import { findGpu } from './device.ts'
import type { GpuFound } from './device.ts'
import { PINNED } from './ffi/libraries.ts'
import type { Gpu } from './ffi/libraries.ts'
import type { Pointer } from './ffi/structs.ts'
import { error, selfTest } from './self-test/self-test.ts'
import type { SelfTest } from './self-test/self-test.ts'
import { gemmRate, RATED_TYPES } from './self-test/gemm-rate.ts'
import { WEIGHT_TYPES } from './tensor.ts'

const GIB = 2 ** 30
const SECONDS_PER_TYPE = 0.25
/** Results of several threads may differ by the order of sums, no more. */
const THREADS_BOUND = 1e-5

/** Set to cuda, vulkan or metal, it has the doctor test that build instead of the CPU's. */
const DEVICE_VARIABLE = 'REASONSMITH_GPU'
const GPUS: readonly string[] = ['cuda', 'vulkan', 'metal'] satisfies readonly Gpu[]

export const runDoctor: JobFunction<'doctor'> = async ({ threads }, { emit, signal }) => {
  const phase = (name: string): void => {
    if (signal.aborted) throw new AppError('cancelled', 'stopped')
    emit({ kind: 'phase', name })
  }
  const asked = askedGpu()
  phase('looking for a GPU')
  const found = await findGpu()
  const backend = openBackend({ gpu: asked, ...(threads !== undefined && { threads }) })
  try {
    phase('self-test')
    const test = await selfTest(backend)
    const acrossThreads = backend.isCpu && backend.threads > 1 ? await againstOneThread(test) : null
    phase('measuring')
    const gemm = Object.fromEntries(RATED_TYPES.map((type) => [type, gemmRate(backend, type, SECONDS_PER_TYPE)]))
    const facts = {
      device: backend.name,
      description: backend.isCpu ? (cpus()[0]?.model ?? backend.description) : backend.description,
      threads: backend.threads,
      build: basename(backend.native.folder),
      cpuVariant: cpuVariant(),
      cpuFeatures: cpuFeatures(backend),
      versions: { 'node-llama-cpp': PINNED['node-llama-cpp'], ...backend.native.versions, node: process.version },
      freeMemory: backend.isCpu ? freemem() : backend.freeMemory(),
      totalMemory: backend.isCpu ? totalmem() : null,
      sharesWeights: test.sharesWeights,
      gemm,
      selfTest: { logprobs: test.logprobs, gradients: test.gradients, bound: test.bound, acrossThreads },
      architectures: ARCHITECTURE_NAMES,
      gpu: found
    }
    const sound = test.passes && (acrossThreads === null || acrossThreads <= THREADS_BOUND)
    if (!sound) throw disagreement(facts, test)
    return { ...facts, lines: [...report(facts), '', verdict(facts)] }
  } finally {
    backend.dispose()
  }
}

function askedGpu(): Gpu | null {
  const asked = process.env[DEVICE_VARIABLE]
  if (asked === undefined || asked === '') return null
  if (GPUS.includes(asked)) return asked as Gpu
  throw new AppError('usage', `${DEVICE_VARIABLE}=${asked}: it must be one of ${GPUS.join(', ')}`)
}

async function againstOneThread(test: SelfTest): Promise<number> {
  const single = openBackend({ threads: 1 })
  try {
    return error(test.values, (await selfTest(single)).values)
  } finally {
    single.dispose()
  }
}

/** The file of the CPU build that llama.cpp picked for this processor; null where the system does not tell. */
function cpuVariant(): string | null {
  try {
    return /[^/\s]*ggml-cpu[^/\s]*\.so/.exec(readFileSync('/proc/self/maps', 'utf8'))?.[0] ?? null
  } catch {
    return null
  }
}

/** Instruction sets the CPU build was made with and this processor has. */
function cpuFeatures(backend: Backend): string[] {
  const { ggml, registry, call } = backend.native
  const cpu = registry.backend_dev_by_type(0)
  if (cpu === null) return []
  const reg = ggml.backend_dev_backend_reg(cpu)
  const get = ggml.backend_reg_get_proc_address(reg, 'ggml_backend_get_features')
  if (get === null) return []
  const list = call(get, 'void* ggml_backend_get_features(void*)', reg) as Pointer
  const features: string[] = []
  for (let i = 0; i < 64; i++) {
    const [name, value] = koffi.decode(list, i * 2 * koffi.sizeof('void*'), 'const char*[2]') as (string | null)[]
    if (name === null || name === undefined) break
    if (value === '1') features.push(name)
  }
  return features
}

type Facts = {
  readonly device: string
  readonly description: string
  readonly threads: number
  readonly build: string
  readonly cpuVariant: string | null
  readonly cpuFeatures: readonly string[]
  readonly versions: { readonly ggml: string; readonly llama: string; readonly commit: string; readonly node: string }
  readonly freeMemory: number
  readonly totalMemory: number | null
  readonly sharesWeights: boolean
  readonly gemm: Readonly<Record<string, number>>
  readonly selfTest: { logprobs: number; gradients: number; bound: number; acrossThreads: number | null }
  readonly architectures: readonly string[]
  readonly gpu: GpuFound
}

function report(f: Facts): string[] {
  const gib = (bytes: number): string => (bytes / GIB).toFixed(1)
  const { logprobs, gradients, acrossThreads } = f.selfTest
  const rows: [string, string][] = [
    ['device', `${f.device}: ${f.description}, ${f.threads} thread${f.threads > 1 ? 's' : ''}`],
    ['build', [f.build, f.cpuVariant, f.cpuFeatures.join(' ')].filter(Boolean).join(', ')],
    [
      'libraries',
      `node-llama-cpp ${PINNED['node-llama-cpp']}, llama.cpp ${f.versions.llama} (${f.versions.commit}), ggml ${f.versions.ggml}, Node ${f.versions.node}`
    ],
    ['memory', `${gib(f.freeMemory)} GiB free${f.totalMemory === null ? '' : ` of ${gib(f.totalMemory)}`}`],
    [
      'weights',
      f.sharesWeights
        ? 'one copy, shared by llama.cpp and the trainer'
        : 'two copies: this platform hides llama.cpp’s own, so the trainer loads the base again'
    ],
    [
      'matrix products',
      Object.entries(f.gemm)
        .map(([type, rate]) => `${type} ${rate.toFixed(0)}`)
        .join(', ') + ' GFLOP/s'
    ],
    [
      'self-test',
      `one layer, forward and backward, against double precision: log-probabilities within ${logprobs.toExponential(0)}, gradients within ${gradients.toExponential(0)}` +
        (acrossThreads === null ? '' : `; ${f.threads} threads against one within ${acrossThreads.toExponential(0)}`)
    ],
    ['trains', `${f.architectures.join(', ')}; LoRA on bases in ${WEIGHT_TYPES.join(', ')}`],
    ...gpuRows(f)
  ]
  return rows.map(([name, text]) => `${name.padEnd(16)}${text}`)
}

function gpuRows({ gpu: { gpu, devices, memory, words }, device, cpuVariant: _ }: Facts): [string, string][] {
  const found =
    gpu === null
      ? 'none that can be used was found'
      : `${devices.join(', ')} through ${gpu}, ${(memory / GIB).toFixed(1)} GiB`
  const untried =
    gpu !== null && device === 'CPU'
      ? [`not tried: ${DEVICE_VARIABLE}=${gpu} reasonsmith doctor runs the self-test on it; training uses the CPU`]
      : []
  return [found, ...words, ...untried].map((text, i) => [i === 0 ? 'GPU' : '', text])
}

function verdict({ device, gemm }: Facts): string {
  const fastest = Object.entries(gemm).sort(([, a], [, b]) => b - a)[0]!
  return `This machine trains on ${device}: it computes what it should. Its fastest matrix type is ${fastest[0]}.`
}

function disagreement(facts: Facts, { logprobs, gradients, bound }: SelfTest): AppError {
  const { acrossThreads } = facts.selfTest
  const threads = acrossThreads === null ? '' : `, several threads from one by ${acrossThreads.toExponential(1)}`
  return new AppError(
    'device',
    `${facts.device} (${facts.description}) computes wrong: log-probabilities are off by ${logprobs.toExponential(1)}, gradients by ${gradients.toExponential(1)} (bound ${bound.toExponential(0)})${threads}\n${report(facts).join('\n')}`,
    facts.device === 'CPU'
      ? 'Do not train here. Please report this with the lines above.'
      : 'Train on the CPU of this machine.'
  )
}
