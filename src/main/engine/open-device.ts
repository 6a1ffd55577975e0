/**
 * Which device a run computes on. A GPU is tried first, in a process of its own (self-test and speed): what aborts or
 * computes wrong there never reaches the run. Whatever is decided is said, with its reason; nothing falls back silently.
 */
import { fork } from 'node:child_process'
import { loadavg } from 'node:os'
import { fileURLToPath } from 'node:url'
import { AppError } from '../../shared/errors.ts'
import type { Emit } from '../../shared/event.ts'
import type { Device } from '../../shared/recipe.ts'
import { programOf } from '../files/program.ts'
import { openBackend } from './backend.ts'
import type { Backend } from './backend.ts'
import { findGpu } from './device.ts'
import { loadedGpu } from './ffi/libraries.ts'
import type { Gpu } from './ffi/libraries.ts'
import { refusal } from './self-test/device-report.ts'
import type { DeviceReport, TrialAnswer } from './self-test/device-report.ts'
import { busyWarning } from './threads.ts'

/** A driver that compiles its shaders for the first time takes a minute or two. */
const TRIAL_LIMIT_MS = 300_000

export type Tried = { readonly report: DeviceReport | null; readonly refusal: string | null; readonly hint: string }

const FALLBACK = 'Or set device: cpu (--device cpu) to use the CPU of this machine.'

/** Tries a GPU in a child process. Never throws: what went wrong is the refusal. */
export function tryGpu(gpu: Gpu, threads?: number): Promise<Tried> {
  const known = trials.get(gpu)
  if (known) return known
  const trial = runTrial(gpu, threads)
  trials.set(gpu, trial)
  return trial
}
const trials = new Map<Gpu, Promise<Tried>>()

async function runTrial(gpu: Gpu, threads: number | undefined): Promise<Tried> {
  const child = fork(
    fileURLToPath(programOf('device-trial', import.meta.url)),
    [gpu, ...(threads === undefined ? [] : [String(threads)])],
    {
      env: { ...process.env, ELECTRON_RUN_AS_NODE: '1', NODE_OPTIONS: '', NODE_NO_WARNINGS: '1' },
      execArgv: [],
      stdio: ['ignore', 'ignore', 'pipe', 'ipc']
    }
  )
  let said = ''
  child.stderr?.on('data', (chunk: Buffer) => (said = (said + chunk.toString()).slice(-4000)))
  const refused = (why: string, hint: string = FALLBACK): Tried => ({ report: null, refusal: why, hint })
  return new Promise((resolve) => {
    const timer = setTimeout(() => {
      child.kill('SIGKILL')
      resolve(refused(`${gpu} did not finish its self-test in ${TRIAL_LIMIT_MS / 60_000} minutes`))
    }, TRIAL_LIMIT_MS)
    child.on('message', (message) => {
      const answer = message as TrialAnswer
      if ('report' in answer) resolve({ report: answer.report, refusal: refusal(answer.report), hint: FALLBACK })
      else resolve(refused(answer.failed.message, [answer.failed.hint, FALLBACK].filter(Boolean).join(' ')))
    })
    child.on('error', (error) => resolve(refused(`${gpu} could not be tried: ${error.message}`)))
    child.on('exit', (code, signal) => {
      clearTimeout(timer)
      const last = said
        .trim()
        .split('\n')
        .find((line) => /assert|error|fatal/i.test(line))
      const how = signal ?? `exit code ${code}`
      resolve(refused(`${gpu} broke down in its self-test (${how}${last === undefined ? '' : `: ${last.trim()}`})`))
    })
  })
}

export type DeviceRequest = { readonly device: Device; readonly threads?: number | undefined; readonly emit: Emit }

/** Opens what was asked for. Throws AppError('device') when a device was named and cannot be used. */
export async function openDevice({ device, threads, emit }: DeviceRequest): Promise<Backend> {
  const some = threads === undefined ? {} : { threads }
  const { gpu, why, level } = device === 'auto' ? await automatic(threads) : await named(device, threads)
  const backend = openBackend({ gpu, ...some })
  const left = backend.unusedGpus.length === 0 ? '' : `; one GPU is used, left alone: ${backend.unusedGpus.join(', ')}`
  emit({ kind: 'log', level, text: `device: ${deviceLine(backend)}${why === null ? '' : `: ${why}`}${left}` })
  const busy = backend.isCpu ? busyWarning(backend.threads, loadavg()[0]!) : null
  if (busy !== null) emit({ kind: 'log', level: 'warn', text: busy })
  return backend
}

/** The device in a few words, as plans and logs say it. */
export function deviceLine({ name, description, isCpu, threads }: Backend): string {
  return isCpu ? `CPU, ${threads} thread${threads > 1 ? 's' : ''}` : `${name} (${description})`
}

type Choice = { readonly gpu: Gpu | null; readonly why: string | null; readonly level: 'info' | 'warn' }

async function named(device: Exclude<Device, 'auto'>, threads: number | undefined): Promise<Choice> {
  if (device === 'cpu') return { gpu: null, why: null, level: 'info' }
  const { refusal: why, hint } = await tryGpu(device, threads)
  if (why !== null) throw new AppError('device', why, hint)
  return { gpu: device, why: null, level: 'info' }
}

async function automatic(threads: number | undefined): Promise<Choice> {
  const loaded = loadedGpu()
  if (loaded !== undefined) return { gpu: loaded, why: 'as before in this process', level: 'info' }
  const { gpu, words } = await findGpu()
  if (gpu === null) {
    const level = words.length > 0 ? 'warn' : 'info'
    return { gpu, why: ['no GPU that can be used was found', ...words].join('; '), level }
  }
  const { refusal: why } = await tryGpu(gpu, threads)
  return why === null ? { gpu, why, level: 'info' } : { gpu: null, why: `${why}; ${gpu} is not used`, level: 'warn' }
}
