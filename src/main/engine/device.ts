/**
 * Which device fits this machine. node-llama-cpp decides: it knows the drivers, and tries each build in a process of its own.
 * It is asked from a child process, since a build that is loaded cannot be exchanged for another.
 */
import { execFile } from 'node:child_process'
import { existsSync, readdirSync } from 'node:fs'
import { promisify } from 'node:util'
import { libraryFolder } from './ffi/libraries.ts'
import type { Gpu } from './ffi/libraries.ts'

export type GpuFound = {
  /** Null: the CPU it is. */
  readonly gpu: Gpu | null
  readonly devices: readonly string[]
  /** Bytes of GPU memory, when there is a GPU. */
  readonly memory: number
  /** What a person should know: a GPU that is there but cannot be used, and why. */
  readonly words: readonly string[]
}

const TRIAL_MS = 60_000

/** Prints one line of JSON. Its argument is where node-llama-cpp lies. The processes it forks must not run this script. */
const TRIAL = `
process.execArgv.length = 0
const { getLlama, getLlamaGpuTypes, LlamaLogLevel } = await import(process.argv[1])
const supported = (await getLlamaGpuTypes('supported')).filter(Boolean)
const llama = await getLlama({ gpu: 'auto', build: 'never', skipDownload: true, progressLogs: false, logLevel: LlamaLogLevel.disabled })
const devices = llama.gpu ? await llama.getGpuDeviceNames() : []
const memory = llama.gpu ? (await llama.getVramState()).total : 0
process.stdout.write(JSON.stringify({ gpu: llama.gpu || null, devices, memory, supported }), () => process.exit(0))
`
type Trial = { gpu: Gpu | null; devices: string[]; memory: number; supported: Gpu[] }

/** The GPU type whose build runs here (null for the CPU), and in words what was found. */
export async function findGpu(): Promise<GpuFound> {
  // asking takes a second, which a machine without any GPU should not pay at every start
  if (!mayHaveGpu()) return { gpu: null, devices: [], memory: 0, words: [] }
  let trial: Trial
  try {
    const args = ['--input-type=module', '--eval', TRIAL, import.meta.resolve('node-llama-cpp')]
    const env = { ...process.env, ELECTRON_RUN_AS_NODE: '1' }
    const { stdout } = await promisify(execFile)(process.execPath, args, { env, timeout: TRIAL_MS })
    trial = JSON.parse(stdout) as Trial
  } catch (error) {
    const said = String((error as { stderr?: unknown }).stderr ?? error).trim()
    const why = said.split('\n').findLast((line) => /error/i.test(line)) ?? 'no answer'
    return { gpu: null, devices: [], memory: 0, words: [`node-llama-cpp could not be asked for a GPU (${why})`] }
  }
  // A Vulkan loader without a driver behind it runs, and has no device.
  const usable = trial.devices.length > 0 ? trial.gpu : null
  return { gpu: usable, devices: trial.devices, memory: usable ? trial.memory : 0, words: unused(trial, usable) }
}

/** Device files of GPUs: NVIDIA, any with a kernel driver, AMD's compute, Windows' inside WSL. Elsewhere it must be asked. */
function mayHaveGpu(): boolean {
  if (process.platform !== 'linux' || process.env['GGML_VK_VISIBLE_DEVICES'] !== undefined) return true
  return (
    renderNodes() > 0 || ['/dev/nvidiactl', '/dev/nvidia0', '/dev/kfd', '/dev/dxg'].some((path) => existsSync(path))
  )
}

/** Why a GPU that is there is not used. */
function unused(trial: Trial, gpu: Gpu | null): string[] {
  const words: string[] = []
  const broken = trial.supported.filter((type) => type !== gpu && type !== 'vulkan')
  for (const type of broken) {
    const missing = whyNoBuild(type)
    words.push(
      `${type} is installed on this machine, but ${missing ?? `the ${type} build does not run with its driver: update the driver`}`
    )
  }
  const nvidia = hasNvidia()
  if (nvidia && gpu !== 'cuda' && !trial.supported.includes('cuda')) {
    words.push(
      'an NVIDIA GPU is present, but the CUDA runtime (libcudart, libcublas) was not found: install CUDA 12 or 13'
    )
  }
  if (gpu === null && !nvidia && renderNodes() > 0) {
    words.push(
      'a GPU is present, but no Vulkan driver for it was found: install it (on Debian: libvulkan1 mesa-vulkan-drivers)'
    )
  }
  return words
}

/** Whether the kernel shows an NVIDIA GPU, usable or not. */
export const hasNvidia = (): boolean => existsSync('/dev/nvidia0') || existsSync('/proc/driver/nvidia/gpus')

function whyNoBuild(type: Gpu): string | null {
  try {
    libraryFolder(type)
    return null
  } catch (error) {
    return (error as Error).message
  }
}

function renderNodes(): number {
  return existsSync('/dev/dri') ? readdirSync('/dev/dri').filter((name) => name.startsWith('renderD')).length : 0
}
