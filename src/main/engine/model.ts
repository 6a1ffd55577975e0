/** A base model: loaded once by llama.cpp, its tensors shared by sampler and trainer. */
import { closeSync, openSync } from 'node:fs'
import koffi from 'koffi'
import { AppError } from '../../shared/errors.ts'
import { architectureOf } from './arch/index.ts'
import type { Architecture, ModelConfig } from './arch/architecture.ts'
import type { Backend } from './backend.ts'
import { Held, orDispose, Owned } from './ffi/owned.ts'
import type { Pointer } from './ffi/structs.ts'
import { dataBytes, readGguf } from './gguf.ts'
import type { GgufInfo } from './gguf.ts'
import { isPacked, neverPacked } from './packing.ts'
import { contiguousStrides, TensorPool, write } from './tensor.ts'
import type { Tensor } from './tensor.ts'
import { Vocabulary } from './vocabulary.ts'
import { readWhole } from '../files/whole-file.ts'

const LOAD_MODE = { copy: 0, mmap: 1 } as const

export type Model = {
  readonly backend: Backend
  readonly info: GgufInfo
  readonly architecture: Architecture
  readonly config: ModelConfig
  readonly vocabulary: Vocabulary
  /** The `llama_model`. */
  readonly handle: Pointer
  /** False where the platform hides llama.cpp's own tensors and the trainer holds a second copy. */
  readonly sharesWeights: boolean
  /** Weights lie in memory of their own and may be changed in place. */
  readonly writable: boolean
  /** Whether a weight lies packed: a product can be made with it, and nothing else. */
  packed(name: string): boolean
  /** A weight's bytes as the file has them. */
  stored(name: string): Uint8Array
  /** A weight by its GGUF name. Throws AppError('model') when the file has none of that name. */
  weight(name: string): Tensor
  optionalWeight(name: string): Tensor | null
  dispose(): void
}

export type Loading = {
  /** Weights are copied to memory of their own, so that full-parameter training can change them in place; else the file is mapped. */
  readonly writable?: boolean
  /** Weights may lie packed (packing.ts), in memory of their own: sampling is faster, and a forward that multiplies them. */
  readonly packed?: boolean
}

/** Loads a GGUF. Throws AppError('model'). */
export async function loadModel(path: string, backend: Backend, options: Loading = {}): Promise<Model> {
  const held = new Held()
  try {
    return await openModel(held, path, backend, options)
  } catch (error) {
    held.dispose()
    throw error
  }
}

async function openModel(held: Held, path: string, backend: Backend, options: Loading): Promise<Model> {
  const info = await readGguf(path)
  const { architecture, config } = architectureOf(info)
  const { llama } = backend.native
  const params = llama.model_default_params()
  const packed =
    (options.packed ?? false) && [...info.tensors.values()].some(({ type, ne }) => backend.packs(type, ne[0], ne[1]))
  const placement = placeOn(backend, packed)
  params.n_gpu_layers = backend.isCpu ? 0 : -1
  params.devices = koffi.address(placement.devices) as Pointer
  if (placement.overrides) params.tensor_buft_overrides = koffi.address(placement.overrides) as Pointer
  // what is packed is a copy already; mapped pages of the same weights would lie beside it
  params.load_mode = options.writable || packed ? LOAD_MODE.copy : LOAD_MODE.mmap
  params.use_extra_bufts = packed
  const handle = llama.model_load_from_file(path, params)
  if (handle === null) throw notLoaded(info, backend)
  placement.keep()
  const owned = held.own(new Owned('model', handle, (it) => llama.model_free(it)))
  const own = backend.native.internal ? null : ownWeights(info, backend)
  if (own) held.own(own.pool)
  const weights = new Map<string, Tensor>()

  const optionalWeight = (name: string): Tensor | null => {
    const known = weights.get(name) ?? own?.tensors.get(name)
    if (known) return known
    const entry = info.tensors.get(name)
    if (!entry || own) return null
    const ptr = backend.native.internal!.model_get_tensor(owned.handle, name)
    if (ptr === null) return null
    const tensor = { ptr, type: entry.type, ne: entry.ne, nb: contiguousStrides(backend.native, entry.type, entry.ne) }
    weights.set(name, tensor)
    return tensor
  }
  return {
    backend,
    info,
    architecture,
    config,
    vocabulary: new Vocabulary(backend.native, llama.model_get_vocab(handle)!, info),
    get handle() {
      return owned.handle
    },
    sharesWeights: own === null,
    writable: options.writable ?? false,
    packed: (name) => {
      const weight = optionalWeight(name)
      return weight !== null && isPacked(backend, weight.ptr)
    },
    stored: (name) => {
      const entry = info.tensors.get(name) ?? missing(path, name)
      const bytes = new Uint8Array(dataBytes(entry))
      const file = openSync(path, 'r')
      try {
        readWhole(file, bytes, entry.offset, path)
      } finally {
        closeSync(file)
      }
      return bytes
    },
    weight: (name) => optionalWeight(name) ?? missing(path, name),
    optionalWeight,
    dispose: () => held.dispose()
  }
}

/**
 * Where llama.cpp is to put what it loads: on this one device, and all of it. Left to itself it would spread layers over all
 * GPUs and keep the embedding in host memory, where the trainer's graphs on the device could not read it; where it
 * packs, it would pack the head too, whose rows the loss's gradient reads, and hold an embedding that is the head as well twice.
 */
function placeOn(
  { native, device, isCpu, bufferType }: Backend,
  packed: boolean
): {
  /** `ggml_backend_dev_t[]` ended by null; without an entry it is the CPU's alone. */
  readonly devices: BigUint64Array
  /** `llama_model_tensor_buft_override[]`, pattern and buffer type, ended by nulls. */
  readonly overrides: BigUint64Array | null
  /** The arrays must live until llama.cpp has read them. */
  keep(): void
} {
  const devices = BigUint64Array.from(isCpu ? [0n] : [device, 0n])
  const here = Buffer.from(isCpu ? '^(token_embd|output)\\.weight$\0' : '.\0')
  const type = isCpu ? neverPacked(native) : bufferType
  const overrides = isCpu && !packed ? null : BigUint64Array.from([koffi.address(here), type, 0n, 0n])
  return { devices, overrides, keep: () => void [devices, here, overrides] }
}

/** Why llama.cpp gave no model: it says it to its log only, and most often a device has no room for the weights. */
function notLoaded(info: GgufInfo, backend: Backend): AppError {
  const bytes = [...info.tensors.values()].reduce((sum, tensor) => sum + dataBytes(tensor), 0)
  const mib = (value: number): string => `${Math.ceil(value / 2 ** 20)} MiB`
  if (backend.ownsMemory && bytes > backend.freeMemory()) {
    return new AppError(
      'memory',
      `the weights of ${info.path} take ${mib(bytes)}, ${backend.name} has ${mib(backend.freeMemory())} free`,
      'Choose a smaller base or one of fewer bits, close other programs, or set device: cpu.'
    )
  }
  return new AppError(
    'model',
    `${info.path}: llama.cpp could not load it`,
    'Run with REASONSMITH_NATIVE_LOG=1 to see its own words.'
  )
}

function missing(path: string, name: string): never {
  throw new AppError(
    'model',
    `${path}: the tensor ${name} is missing`,
    'The file is incomplete; download or export it again.'
  )
}

/** A second copy of the weights, for platforms on which llama.cpp's own tensors cannot be reached. */
function ownWeights(info: GgufInfo, backend: Backend): { pool: TensorPool; tensors: Map<string, Tensor> } {
  const pool = new TensorPool(backend, info.tensors.size + 1)
  const tensors = new Map([...info.tensors].map(([name, entry]) => [name, pool.add(entry.type, ...entry.ne)]))
  return orDispose([pool], () => {
    pool.allocate()
    const file = openSync(info.path, 'r')
    try {
      for (const [name, tensor] of tensors) {
        const bytes = new Uint8Array(backend.native.ggml.nbytes(tensor.ptr))
        readWhole(file, bytes, info.tensors.get(name)!.offset, info.path)
        write(backend, tensor, bytes)
      }
    } finally {
      closeSync(file)
    }
    return { pool, tensors }
  })
}
