/** One compute device: its handle, its buffers, its graphs. */
import { availableParallelism } from 'node:os'
import { AppError } from '../../shared/errors.ts'
import { DEVICE_TYPE, loadNative } from './ffi/libraries.ts'
import type { Gpu, Native } from './ffi/libraries.ts'
import { Owned } from './ffi/owned.ts'
import type { Pointer } from './ffi/structs.ts'
import { packs } from './packing.ts'

export type Backend = {
  readonly native: Native
  readonly handle: Pointer
  /** The `ggml_backend_dev_t`. */
  readonly device: Pointer
  readonly bufferType: Pointer
  /** Of host memory that the device copies from and to fast: pinned where the driver offers it. */
  readonly hostBufferType: Pointer
  /** Whether the device has memory that is not the host's, so that something can be moved from one to the other. */
  readonly ownsMemory: boolean
  /** `CPU`, `CUDA0`, … and what the driver calls it. */
  readonly name: string
  readonly description: string
  readonly isCpu: boolean
  readonly threads: number
  /** GPUs of the same build that are left alone: a run uses one device, layers are not split. */
  readonly unusedGpus: readonly string[]
  /** Bytes free when the device was opened, before anything of ours lay on it: what a memory plan counts from. */
  readonly freeAtOpen: number
  /**
   * Whether products of views with gaps between their matrices come out right. ggml-vulkan takes the distance between
   * matrices for the product of their sides (a window of keys is then read wrongly), and rounds views with gaps between
   * rows to F16.
   */
  readonly multipliesViews: boolean
  /**
   * Up to which rank a product [n, r] × [r, T] is better made of outer products. The CPU's mul_mat takes a dot product of
   * length r and the sum of a vector register for each result: 7 GFLOP/s at rank 16, where out_prod reaches 23; of rank 32
   * its rows no longer fit the cache.
   */
  readonly outerRank: number
  /** Whether fused attention computes in F32 throughout, as the CPU's does; GPUs round keys and values to F16. */
  readonly flashInF32: boolean
  /**
   * Call before each graph. All descriptor sets of ggml-vulkan have twelve bindings, of which an operation writes those it
   * uses; the rest keep what an earlier graph wrote, buffers freed since included. Vulkan allows that. Mesa's llvmpipe
   * (22.3) counts references on every binding all the same, inside memory that is free: the heap is then corrupted. On
   * llvmpipe the backend is therefore opened anew, with descriptor sets that name nothing; elsewhere nothing happens.
   */
  forgetDescriptors(): void
  /** Whether llama.cpp, where it may, loads a matrix [input, output] of this type packed (packing.ts). */
  packs(type: number, input: number, output: number): boolean
  /** Whether the device can compute this node, as it is shaped. The CPU can compute every node the engine makes. */
  computes(node: Pointer): boolean
  /** Bytes free on the device now. */
  freeMemory(): number
  /** Bytes in use on the device now, by every process, as its driver counts; null where it works in the host's memory. */
  usedMemory(): number | null
  dispose(): void
}

const GGML_STATUS_SUCCESS = 0

/**
 * Opens a device of the loaded build: the CPU for `gpu` null, else its GPU (of several, the one with most memory free).
 * Tests nothing: `openDevice` does. Throws AppError('device').
 */
export function openBackend(options: { gpu?: Gpu | null; threads?: number } = {}): Backend {
  const gpu = options.gpu ?? null
  const native = loadNative(gpu)
  const { ggml, registry } = native
  const [device, ...others] =
    gpu === null ? [registry.backend_dev_by_type(DEVICE_TYPE.cpu)] : gpusOf(native).map((it) => it.device)
  if (device === undefined || device === null)
    throw new AppError(
      'device',
      `no ${gpu ?? 'cpu'} device was found`,
      'Run `reasonsmith doctor` to see what is missing.'
    )
  const open = (): Owned<Pointer> => {
    const handle = ggml.backend_dev_init(device, null)
    if (handle === null) throw new AppError('device', `the device ${ggml.backend_dev_name(device)} could not be opened`)
    return new Owned('backend', handle, (it) => ggml.backend_free(it))
  }
  let owned = open()
  const threads = options.threads ?? availableParallelism()
  if (gpu === null) {
    const set = ggml.backend_reg_get_proc_address(ggml.backend_dev_backend_reg(device), 'ggml_backend_set_n_threads')
    if (set !== null) native.call(set, 'void ggml_backend_set_n_threads(void*, int)', owned.handle, threads)
  }
  const freeMemory = (): number => (gpu === null ? process.availableMemory() : memoryOf(native, device).free)
  const description = ggml.backend_dev_description(device)
  const packing = new Map<string, boolean>()
  const readsFreedBindings = gpu === 'vulkan' && description.startsWith('llvmpipe')
  return {
    native,
    get handle() {
      return owned.handle
    },
    device,
    bufferType: ggml.backend_get_default_buffer_type(owned.handle)!,
    hostBufferType:
      ggml.backend_dev_host_buffer_type(device) ??
      ggml.backend_dev_buffer_type(registry.backend_dev_by_type(DEVICE_TYPE.cpu))!,
    ownsMemory: gpu !== null && gpu !== 'metal' && ggml.backend_dev_type(device) === DEVICE_TYPE.gpu,
    name: ggml.backend_dev_name(device),
    description,
    isCpu: gpu === null,
    threads,
    unusedGpus: others.map((it) => `${ggml.backend_dev_name(it)} (${ggml.backend_dev_description(it)})`),
    freeAtOpen: freeMemory(),
    multipliesViews: gpu !== 'vulkan',
    outerRank: gpu === null ? 16 : 0,
    flashInF32: gpu === null,
    forgetDescriptors: () => {
      if (!readsFreedBindings) return
      owned.dispose()
      owned = open()
    },
    packs: (...matrix) => {
      const key = matrix.join(' ')
      const known = packing.get(key) ?? packs({ native, device, isCpu: gpu === null }, ...matrix)
      packing.set(key, known)
      return known
    },
    computes: (node) => gpu === null || ggml.backend_supports_op(owned.handle, node),
    freeMemory,
    usedMemory: () => {
      if (ggml.backend_dev_type(device) !== DEVICE_TYPE.gpu) return null
      const { free, total } = memoryOf(native, device)
      return total - free
    },
    dispose: () => owned.dispose()
  }
}

/** GPUs before GPUs that share the host's memory, then by free memory. */
function gpusOf(native: Native): { device: Pointer }[] {
  const { ggml, registry } = native
  const types: readonly number[] = [DEVICE_TYPE.gpu, DEVICE_TYPE.integratedGpu]
  return Array.from({ length: registry.backend_dev_count() }, (_, i) => registry.backend_dev_get(i)!)
    .map((device) => ({ device, type: ggml.backend_dev_type(device), free: memoryOf(native, device).free }))
    .filter(({ type }) => types.includes(type))
    .sort((a, b) => a.type - b.type || b.free - a.free)
}

function memoryOf(native: Native, device: Pointer): { free: number; total: number } {
  const [free, total] = [[0], [0]]
  native.ggml.backend_dev_memory(device, free, total)
  return { free: free[0]!, total: total[0]! }
}

/** Runs an allocated graph to its end. Throws AppError('device') when the backend reports a failure. */
export function compute(backend: Backend, graph: Pointer): void {
  backend.forgetDescriptors()
  const status = backend.native.ggml.backend_graph_compute(backend.handle, graph)
  if (status !== GGML_STATUS_SUCCESS)
    throw new AppError('device', `${backend.name} failed to compute a graph (status ${status})`)
}
