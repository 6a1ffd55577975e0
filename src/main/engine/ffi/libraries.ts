/** Finds and loads the llama.cpp shared libraries that node-llama-cpp ships, and binds their functions. */
import { existsSync, readdirSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import koffi from 'koffi'
import type { LibraryHandle, TypeObject } from 'koffi'
import { AppError } from '../../../shared/errors.ts'
import { GGML, GGML_BASE, LLAMA, LLAMA_INTERNAL } from './symbols.ts'
import { STRUCTS } from './structs.ts'
import type { Bound, Pointer, Struct } from './structs.ts'

/** The build every layout and signature here was written against. */
export const PINNED = { 'node-llama-cpp': '3.22.1', ggml: '0.25.1', llama: '0.5.0' } as const

export type Gpu = 'cuda' | 'vulkan' | 'metal'

export type Native = {
  readonly folder: string
  readonly ggml: Bound<typeof GGML_BASE>
  readonly registry: Bound<typeof GGML>
  readonly llama: Bound<typeof LLAMA>
  /** Null where the platform does not export them (Windows): the engine then loads the base itself. */
  readonly internal: Bound<typeof LLAMA_INTERNAL> | null
  readonly versions: { readonly ggml: string; readonly llama: string; readonly commit: string }
  /** `llama_decode` on a thread of its own, so that the event loop turns meanwhile. Resolves with its status. */
  decode(context: Pointer, batch: Struct<'llama_batch'>): Promise<number>
  /** `llama_model_quantize` on threads of its own. Resolves with its status, 0 for done. */
  quantize(from: string, to: string, params: Struct<'llama_model_quantize_params'>): Promise<number>
  /**
   * The address of a native function that reads one byte: `ggml_get_no_alloc`, a getter of the flag at `flagOffset` in the
   * struct it is given. With a buffer of ours as that struct it tells llama.cpp's threads to stop; a callback into JavaScript
   * from a native thread would be unsafe.
   */
  readonly flagReader: { readonly address: Pointer; readonly flagOffset: number }
  /** Calls a function by an address that a library handed out. */
  call(address: Pointer, prototype: string, ...args: readonly unknown[]): unknown
}

const LIBRARY_FILE: Record<string, (name: string) => RegExp> = {
  // a GPU build names itself: libllama.cuda.v0.5.0.so
  linux: (name) => new RegExp(`^lib${name}(\\.[a-z]+)?(\\.v[\\d.]+)?\\.so$`),
  darwin: (name) => new RegExp(`^lib${name}(\\.[a-z]+)?(\\.v?[\\d.]+)?\\.dylib$`),
  win32: (name) => new RegExp(`^(lib)?${name}(\\.[a-z]+)?(\\.v[\\d.]+)?\\.dll$`)
}
const PLATFORM_NAME: Record<string, string> = { linux: 'linux', darwin: 'mac', win32: 'win' }

/** The folder with the shared libraries of one build, e.g. `linux-x64-cuda`. Throws when that package is not installed. */
export function libraryFolder(gpu: Gpu | null): string {
  const platform = `${PLATFORM_NAME[process.platform] ?? process.platform}-${process.arch}`
  const build = gpu === null ? platform : `${platform}-${gpu}`
  // The packages export nothing but their entry, so look for the folder beside node-llama-cpp itself.
  const entry = fileURLToPath(import.meta.resolve('node-llama-cpp')) // …/node_modules/node-llama-cpp/dist/index.js
  const scope = join(dirname(entry), '..', '..', '@node-llama-cpp')
  for (const name of [build, `${build}-ext`]) {
    const folder = join(scope, name, 'bins', name)
    if (existsSync(folder)) return folder
  }
  throw new AppError(
    'device',
    `there is no llama.cpp build for ${build}: the package @node-llama-cpp/${build} is not installed`,
    'Reinstall with `npm ci` without --omit=optional, or choose another device.'
  )
}

/**
 * Where the same build lies for an older CUDA runtime: `libcudart.so.12` instead of 13. Null where there is none.
 * node-llama-cpp ships only that one library twice, in the folder `fallback` of its package `-ext`.
 */
function fallbackFolder(folder: string): string | null {
  const build = basename(folder)
  const path = join(folder, '..', '..', '..', `${build}-ext`, 'bins', build, 'fallback')
  return existsSync(path) ? path : null
}

function libraryFile(folder: string, name: string): string {
  const pattern = (LIBRARY_FILE[process.platform] ?? LIBRARY_FILE['linux']!)(name)
  const file = readdirSync(folder).find((entry) => pattern.test(entry))
  if (file === undefined)
    throw new AppError('device', `the library ${name} is missing in ${folder}`, 'Reinstall with `npm ci`.')
  return join(folder, file)
}

function bind<T extends Readonly<Record<string, string>>>(library: LibraryHandle, table: T): Bound<T> {
  return Object.fromEntries(
    Object.entries(table).map(([key, prototype]) => [key, library.func(prototype)])
  ) as unknown as Bound<T>
}

let loaded: Native | undefined
let loadedFor: Gpu | null | undefined

/** Whose build this process has loaded (null: the CPU's); undefined while none is. */
export const loadedGpu = (): Gpu | null | undefined => loadedFor

/**
 * Loads the libraries once per process. Every build holds the CPU's backend too, so null is answered with whatever is
 * loaded; a second call with another GPU is a bug, since both builds would share symbols.
 * Throws AppError('device') when a library is missing or is not the pinned version.
 */
export function loadNative(gpu: Gpu | null = null): Native {
  if (loaded && gpu === null) return loaded
  const folder = libraryFolder(gpu)
  if (loaded) {
    if (loaded.folder !== folder) throw new Error(`native libraries of ${loaded.folder} are loaded already`)
    return loaded
  }
  // Its products of F32 matrices would otherwise round both to F16, in which gradients under 6e-8 are zero.
  if (gpu === 'vulkan') process.env['GGML_VK_DISABLE_F16'] ??= '1'
  for (const [name, fields] of Object.entries(STRUCTS)) koffi.struct(name, { ...fields })
  const open = (name: string): LibraryHandle => koffi.load(libraryFile(folder, name), { global: true })
  const base = open('ggml-base')
  const registryLibrary = open('ggml')
  const llamaLibrary = open('llama')
  const ggml = bind(base, GGML_BASE)
  const registry = bind(registryLibrary, GGML)
  const llama = bind(llamaLibrary, LLAMA)
  const versions = { ggml: ggml.version(), llama: llama.version(), commit: ggml.commit() }
  if (versions.ggml !== PINNED.ggml || !versions.llama.includes(PINNED.llama)) {
    throw new AppError(
      'device',
      `llama.cpp ${versions.llama} / ggml ${versions.ggml} is not the build this version was made for (${PINNED.llama} / ${PINNED.ggml})`,
      'Reinstall with `npm ci`, which installs the pinned node-llama-cpp.'
    )
  }
  // A function without arguments or effects as log sink: a callback into JavaScript from a native thread would be unsafe.
  if (process.env['REASONSMITH_NATIVE_LOG'] === undefined) llama.log_set(base.symbol('ggml_cycles', 'void*'), null)
  registry.backend_load_all_from_path(folder + '/')
  const older = gpu === null || hasGpu(ggml, registry) ? null : fallbackFolder(folder)
  if (older !== null) registry.backend_load_all_from_path(older + '/')
  llama.backend_init()
  const prototypes = new Map<string, unknown>()
  loadedFor = gpu
  loaded = {
    folder,
    ggml,
    registry,
    llama,
    internal: bindInternal(llamaLibrary),
    versions,
    decode: (context, batch) => onThread(llama.decode, context, batch),
    quantize: (from, to, params) => onThread(llama.model_quantize, from, to, params),
    // ggml.c: struct ggml_context { size_t mem_size; void * mem_buffer; bool mem_buffer_owned; bool no_alloc; … }
    flagReader: { address: base.symbol('ggml_get_no_alloc', 'void*') as Pointer, flagOffset: 17 },
    call: (address, prototype, ...args) => {
      const proto = prototypes.get(prototype) ?? koffi.proto(prototype)
      prototypes.set(prototype, proto)
      return koffi.call(address, proto as TypeObject, ...args)
    }
  }
  return loaded
}

/** Calls a bound function on a thread of its own. */
function onThread(bound: unknown, ...args: readonly unknown[]): Promise<number> {
  const { async: start } = bound as { async: (...args: unknown[]) => void }
  return new Promise((resolve, reject) => {
    const done = (error: Error | null, status: number): void => (error ? reject(error) : resolve(status))
    start(...args, done)
  })
}

/** ggml-backend.h, ggml_backend_dev_type. */
export const DEVICE_TYPE = { cpu: 0, gpu: 1, integratedGpu: 2 } as const

/** Whether the loaded build shows a GPU of any kind. */
export function hasGpu(ggml: Native['ggml'], registry: Native['registry']): boolean {
  const gpus: readonly number[] = [DEVICE_TYPE.gpu, DEVICE_TYPE.integratedGpu]
  for (let i = 0; i < registry.backend_dev_count(); i++)
    if (gpus.includes(ggml.backend_dev_type(registry.backend_dev_get(i)))) return true
  return false
}

function bindInternal(library: LibraryHandle): Bound<typeof LLAMA_INTERNAL> | null {
  if (process.env['REASONSMITH_OWN_WEIGHTS'] !== undefined) return null
  try {
    return bind(library, LLAMA_INTERNAL)
  } catch {
    return null // not exported on this platform
  }
}

/** Reads `count` addresses that lie one after another at `address`. */
export function readPointers(address: Pointer, count: number): Pointer[] {
  return koffi.decode(address, `void*[${count}]`) as Pointer[]
}

/** The `ggml_backend_buffer` a tensor lies in: the second field of `struct ggml_tensor` (ggml.h), after its type. */
export function bufferOf(tensor: Pointer): Pointer {
  return koffi.decode(tensor, 8, 'void*') as Pointer
}

/** The precision a product was asked for: the first of a node's `op_params` (ggml.h, after type, buffer, ne, nb and op). */
export function precisionOf(node: Pointer): number {
  return koffi.decode(node, 84, 'int32_t') as number
}
