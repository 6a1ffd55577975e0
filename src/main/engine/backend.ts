/** One compute device: its handle, its buffers, its graphs. */
import { availableParallelism } from 'node:os'
import { AppError } from '../../shared/errors.ts'
import { loadNative } from './ffi/libraries.ts'
import type { Gpu, Native } from './ffi/libraries.ts'
import { Owned } from './ffi/owned.ts'
import type { Pointer } from './ffi/structs.ts'

export type Backend = {
  readonly native: Native
  readonly handle: Pointer
  readonly bufferType: Pointer
  /** `CPU`, `CUDA0`, … and what the driver calls it. */
  readonly name: string
  readonly description: string
  readonly isCpu: boolean
  readonly threads: number
  /** Bytes free on the device now. */
  freeMemory(): number
  dispose(): void
}

const DEVICE_CPU = 0
const GGML_STATUS_SUCCESS = 0

/** Opens a device of the loaded build: the CPU for `gpu` null, else its first GPU. Throws AppError('device'). */
export function openBackend(options: { gpu?: Gpu | null; threads?: number } = {}): Backend {
  const gpu = options.gpu ?? null
  const native = loadNative(gpu)
  const { ggml, registry } = native
  const device = gpu === null ? registry.backend_dev_by_type(DEVICE_CPU) : firstGpu(native)
  if (device === null)
    throw new AppError(
      'device',
      `no ${gpu ?? 'cpu'} device was found`,
      'Run `reasonsmith doctor` to see what is missing.'
    )
  const handle = ggml.backend_dev_init(device, null)
  if (handle === null) throw new AppError('device', `the device ${ggml.backend_dev_name(device)} could not be opened`)
  const threads = options.threads ?? availableParallelism()
  if (gpu === null) {
    const set = ggml.backend_reg_get_proc_address(ggml.backend_dev_backend_reg(device), 'ggml_backend_set_n_threads')
    if (set !== null) native.call(set, 'void ggml_backend_set_n_threads(void*, int)', handle, threads)
  }
  const owned = new Owned('backend', handle, (it) => ggml.backend_free(it))
  return {
    native,
    get handle() {
      return owned.handle
    },
    bufferType: ggml.backend_get_default_buffer_type(handle)!,
    name: ggml.backend_dev_name(device),
    description: ggml.backend_dev_description(device),
    isCpu: gpu === null,
    threads,
    freeMemory: () => {
      const free = [0]
      ggml.backend_dev_memory(device, free, [0])
      return free[0]!
    },
    dispose: () => owned.dispose()
  }
}

function firstGpu(native: Native): Pointer | null {
  for (let i = 0; i < native.registry.backend_dev_count(); i++) {
    const device = native.registry.backend_dev_get(i)
    if (device !== null && native.ggml.backend_dev_type(device) !== DEVICE_CPU) return device
  }
  return null
}

/** Runs an allocated graph to its end. Throws AppError('device') when the backend reports a failure. */
export function compute(backend: Backend, graph: Pointer): void {
  const status = backend.native.ggml.backend_graph_compute(backend.handle, graph)
  if (status !== GGML_STATUS_SUCCESS)
    throw new AppError('device', `${backend.name} failed to compute a graph (status ${status})`)
}
