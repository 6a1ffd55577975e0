/** A llama.cpp context of fixed width: one KV stream per slot, batches of (token, position, slot). */
import koffi from 'koffi'
import { AppError } from '../../shared/errors.ts'
import type { CacheType } from '../../shared/recipe.ts'
import type { Adapter } from './adapter.ts'
import { CACHE_TYPES, requireCache } from './cache-types.ts'
import { Owned } from './ffi/owned.ts'
import type { Pointer } from './ffi/structs.ts'
import type { Model } from './model.ts'

export type DecoderSettings = {
  /** Sequences decoded at once, at most llama.cpp's 256. */
  readonly width: number
  /** Prompt and response of one sequence, in tokens. */
  readonly contextTokens: number
  /** Rows of logits that a batch asks for at most, for which room is reserved; one per sequence where nothing is said. */
  readonly logitRows?: number
  /** How keys and values are kept; f16 where nothing is said. */
  readonly cacheType?: CacheType | 'f32' | undefined
}

export type DecodeToken = {
  readonly token: number
  readonly position: number
  readonly slot: number
  readonly wantsLogits: boolean
}

/** llama.cpp rounds the context of a sequence up to a multiple of this. */
const CONTEXT_GRAIN = 256

/** The context that llama.cpp makes of `contextTokens`; it chooses rope factors by it. */
export const decodingContext = (contextTokens: number): number =>
  Math.ceil(contextTokens / CONTEXT_GRAIN) * CONTEXT_GRAIN

export class Decoder {
  readonly model: Model
  readonly width: number
  readonly contextTokens: number
  /** Tokens of one batch at most. */
  readonly batchTokens: number
  readonly #context: Owned<Pointer>
  readonly #memory: Pointer
  readonly #tokens: Int32Array
  readonly #positions: Int32Array
  readonly #slots: Int32Array
  readonly #ones: Int32Array
  readonly #slotPointers: BigUint64Array
  readonly #wanted: Int8Array
  /** Read by llama.cpp between the nodes of a graph (CPU only): one byte of it stops the decode that runs. */
  readonly #stop = new Uint8Array(64)

  /** Throws AppError('memory') when the caches find no room, AppError('recipe') for what llama.cpp cannot do with this base. */
  constructor(model: Model, settings: DecoderSettings) {
    const { llama } = model.backend.native
    const { width, contextTokens, cacheType = 'f16', logitRows = width } = settings
    const { type } = CACHE_TYPES[cacheType]
    const most = llama.max_parallel_sequences()
    if (width > most)
      throw new AppError(
        'recipe',
        `rollout_width is ${width}: llama.cpp decodes at most ${most} sequences at once`,
        `Set rollout_width to ${most} or less.`
      )
    requireCache(model.config.headDim, cacheType)
    this.model = model
    this.width = width
    this.contextTokens = contextTokens
    this.batchTokens = Math.max(2048, width)
    const params = llama.context_default_params()
    params.n_ctx = width * contextTokens
    params.n_batch = this.batchTokens
    params.n_ubatch = 512
    params.n_seq_max = width
    params.n_outputs_max = logitRows
    params.n_outputs_max_per_seq = Math.ceil(logitRows / width)
    params.n_threads = model.backend.threads
    params.n_threads_batch = model.backend.threads
    params.type_k = type
    params.type_v = type
    params.kv_unified = false
    params.abort_callback = model.backend.native.flagReader.address
    params.abort_callback_data = koffi.address(this.#stop) as Pointer
    const context = llama.init_from_model(model.handle, params)
    if (context === null) {
      throw new AppError(
        'memory',
        `no context for ${width} sequences of ${contextTokens} tokens could be made`,
        'Lower rollout_width or max_completion_length.'
      )
    }
    this.#context = new Owned('context', context, (it) => llama.free(it))
    this.#memory = llama.get_memory(context)!
    const n = this.batchTokens
    this.#tokens = new Int32Array(n)
    this.#positions = new Int32Array(n)
    this.#slots = new Int32Array(n)
    this.#ones = new Int32Array(n).fill(1)
    this.#wanted = new Int8Array(n)
    const first = koffi.address(this.#slots)
    this.#slotPointers = BigUint64Array.from({ length: n }, (_, i) => first + BigInt(4 * i))
  }

  /** Samples with this adapter, or with the base alone. */
  use(adapter: Adapter | null): void {
    const { llama } = this.model.backend.native
    const status = llama.set_adapters_lora(
      this.#context.handle,
      adapter ? [adapter.handle] : [],
      adapter ? 1 : 0,
      adapter ? [1] : []
    )
    if (status !== 0) throw new Error(`llama.cpp refused the adapter (status ${status})`)
  }

  clear(): void {
    this.model.backend.native.llama.memory_clear(this.#memory, true)
  }

  /** Copies the cache of one slot over another's. */
  copy(from: number, to: number): void {
    const { llama } = this.model.backend.native
    llama.memory_seq_rm(this.#memory, to, -1, -1)
    llama.memory_seq_cp(this.#memory, from, to, -1, -1)
  }

  /** Forgets everything in a slot from this position on. */
  truncate(slot: number, position: number): void {
    this.model.backend.native.llama.memory_seq_rm(this.#memory, slot, position, -1)
  }

  /**
   * Runs one batch. Resolves with the address of the logits, F32 [vocabulary] per token that wanted them, in batch order;
   * valid until the next call. Throws AppError('cancelled') soon after the signal fires, in the middle of the batch; the
   * caches are then undefined until `clear`.
   */
  async decode(batch: readonly DecodeToken[], signal?: AbortSignal): Promise<Pointer> {
    const { llama } = this.model.backend.native
    batch.forEach(({ token, position, slot, wantsLogits }, i) => {
      this.#tokens[i] = token
      this.#positions[i] = position
      this.#slots[i] = slot
      this.#wanted[i] = wantsLogits ? 1 : 0
    })
    const flag = this.model.backend.native.flagReader.flagOffset
    const stop = (): void => void (this.#stop[flag] = 1)
    this.#stop[flag] = Number(signal?.aborted ?? false)
    signal?.addEventListener('abort', stop)
    let status: number
    try {
      status = await this.model.backend.native.decode(this.#context.handle, {
        n_tokens: batch.length,
        token: koffi.address(this.#tokens) as Pointer,
        embd: null,
        pos: koffi.address(this.#positions) as Pointer,
        n_seq_id: koffi.address(this.#ones) as Pointer,
        seq_id: koffi.address(this.#slotPointers) as Pointer,
        logits: koffi.address(this.#wanted) as Pointer
      })
    } finally {
      signal?.removeEventListener('abort', stop)
    }
    if (signal?.aborted) throw new AppError('cancelled', 'sampling was cancelled')
    if (status !== 0)
      throw new AppError('device', `llama_decode failed with status ${status} on ${batch.length} tokens`)
    llama.synchronize(this.#context.handle)
    return llama.get_logits(this.#context.handle)!
  }

  dispose(): void {
    this.#context.dispose()
  }
}
