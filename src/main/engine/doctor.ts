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
import { findGpu, hasNvidia } from './device.ts'
import type { GpuFound } from './device.ts'
import { PINNED } from './ffi/libraries.ts'
import type { Gpu } from './ffi/libraries.ts'
import type { Pointer } from './ffi/structs.ts'
import { tryGpu } from './open-device.ts'
import type { Tried } from './open-device.ts'
import { error, selfTest } from './self-test/self-test.ts'
import type { SelfTest } from './self-test/self-test.ts'
import { gemmRate, RATED_TYPES } from './self-test/gemm-rate.ts'
import { WEIGHT_TYPES } from './tensor.ts'

const GIB = 2 ** 30
const SECONDS_PER_TYPE = 0.25
/** Results of several threads may differ by the order of sums, no more. */
const THREADS_BOUND = 1e-5

export const runDoctor: JobFunction<'doctor'> = async ({ device, threads }, { emit, signal }) => {
  const phase = (name: string): void => {
    if (signal.aborted) throw new AppError('cancelled', 'stopped')
    emit({ kind: 'phase', name })
  }
  phase('looking for a GPU')
  const found = device === 'auto' ? await findGpu() : NOT_ASKED
  const gpus: readonly Gpu[] =
    device === 'cpu'
      ? []
      : device !== 'auto'
        ? [device]
        : [...new Set([...(found.gpu ? [found.gpu] : []), ...(hasNvidia() ? (['cuda'] as const) : [])])]
  const tried: { gpu: Gpu; tried: Tried }[] = []
  for (const gpu of gpus) {
    phase(`trying ${gpu}`)
    tried.push({ gpu, tried: await tryGpu(gpu, threads) })
  }
  const backend = openBackend(threads === undefined ? {} : { threads })
  try {
    phase('self-test')
    const test = await selfTest(backend)
    const acrossThreads = backend.threads > 1 ? await againstOneThread(test) : null
    phase('measuring')
    const gemm = Object.fromEntries(RATED_TYPES.map((type) => [type, gemmRate(backend, type, SECONDS_PER_TYPE)]))
    const usable = tried.find(({ tried: it }) => it.refusal === null)?.tried.report
    const facts = {
      /** What a run with this `device` setting computes on. */
      device: usable?.name ?? backend.name,
      description: cpus()[0]?.model ?? backend.description,
      threads: backend.threads,
      build: basename(backend.native.folder),
      cpuVariant: cpuVariant(),
      cpuFeatures: cpuFeatures(backend),
      versions: { 'node-llama-cpp': PINNED['node-llama-cpp'], ...backend.native.versions, node: process.version },
      freeMemory: freemem(),
      totalMemory: totalmem(),
      sharesWeights: test.sharesWeights,
      gemm,
      selfTest: { logprobs: test.logprobs, gradients: test.gradients, bound: test.bound, acrossThreads },
      architectures: ARCHITECTURE_NAMES,
      gpu: found,
      tried: tried.map(({ gpu, tried: it }) => ({ gpu, ...it }))
    }
    const sound = test.passes && (acrossThreads === null || acrossThreads <= THREADS_BOUND)
    if (!sound) throw disagreement(facts, test)
    const [named] = device === 'auto' ? [] : facts.tried
    if (named && named.refusal !== null)
      throw new AppError('device', `${report(facts).join('\n')}\n\n${named.refusal}`, named.hint)
    return { ...facts, lines: [...report(facts), '', verdict(facts)] }
  } finally {
    backend.dispose()
  }
}

const NOT_ASKED: GpuFound = { gpu: null, devices: [], memory: 0, words: [] }

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
  readonly totalMemory: number
  readonly sharesWeights: boolean
  readonly gemm: Readonly<Record<string, number>>
  readonly selfTest: { logprobs: number; gradients: number; bound: number; acrossThreads: number | null }
  readonly architectures: readonly string[]
  readonly gpu: GpuFound
  readonly tried: readonly (Tried & { readonly gpu: Gpu })[]
}

function report(f: Facts): string[] {
  const gib = (bytes: number): string => (bytes / GIB).toFixed(1)
  const { logprobs, gradients, acrossThreads } = f.selfTest
  const rows: [string, string][] = [
    ['CPU', `${f.description}, ${f.threads} thread${f.threads > 1 ? 's' : ''}`],
    ['build', [f.build, f.cpuVariant, f.cpuFeatures.join(' ')].filter(Boolean).join(', ')],
    [
      'libraries',
      `node-llama-cpp ${PINNED['node-llama-cpp']}, llama.cpp ${f.versions.llama} (${f.versions.commit}), ggml ${f.versions.ggml}, Node ${f.versions.node}`
    ],
    ['memory', `${gib(f.freeMemory)} GiB free of ${gib(f.totalMemory)}`],
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

function gpuRows({ gpu: { words }, tried }: Facts): [string, string][] {
  const none = tried.length === 0 ? ['none that can be used was found', ...words] : words
  const rows = tried.flatMap((it): [string, string][] =>
    triedLines(it).map((text, i) => [i === 0 ? `GPU, ${it.gpu}` : '', text])
  )
  return [...rows, ...none.map((text, i): [string, string] => [i === 0 && tried.length === 0 ? 'GPU' : '', text])]
}

/** One GPU: what it is, how fast, how right, and whether a run uses it. */
function triedLines({ report: it, refusal, hint }: Tried): string[] {
  const end = refusal === null ? ['it can be used'] : [`not used: ${refusal}`, hint]
  if (!it) return end
  const { driver, computeCapability, peak, unusedGpus, selfTest: test } = it
  const facts = [
    `${it.name}: ${it.description}`,
    ...(driver === null ? [] : [`driver ${driver}`]),
    ...(computeCapability === null ? [] : [`compute capability ${computeCapability}`]),
    `${(it.freeMemory / GIB).toFixed(1)} GiB free`,
    `build ${it.build}`
  ]
  const rate = (value: number): string => (value < 10 ? value.toPrecision(2) : value.toFixed(0))
  const chip = peak === null ? '' : `, of ${rate(peak)} that the chip can do`
  return [
    facts.join(', '),
    `F32 products at ${rate(it.rate)} GFLOP/s${chip}; the CPU does ${rate(it.cpuRate)}`,
    `self-test: log-probabilities within ${test.logprobs.toExponential(0)}, gradients within ${test.gradients.toExponential(0)}`,
    ...(unusedGpus.length === 0 ? [] : [`one GPU is used; left alone: ${unusedGpus.join(', ')}`]),
    ...end
  ]
}

function verdict({ device, gemm }: Facts): string {
  const fastest = Object.entries(gemm).sort(([, a], [, b]) => b - a)[0]!
  const types = device === 'CPU' ? ` Its fastest matrix type is ${fastest[0]}.` : ''
  return `This machine trains on ${device}: it computes what it should.${types}`
}

function disagreement(facts: Facts, { logprobs, gradients, bound }: SelfTest): AppError {
  const { acrossThreads } = facts.selfTest
  const threads = acrossThreads === null ? '' : `, several threads from one by ${acrossThreads.toExponential(1)}`
  return new AppError(
    'device',
    `The CPU (${facts.description}) computes wrong: log-probabilities are off by ${logprobs.toExponential(1)}, gradients by ${gradients.toExponential(1)} (bound ${bound.toExponential(0)})${threads}\n${report(facts).join('\n')}`,
    'Do not train here. Please report this with the lines above.'
  )
}
