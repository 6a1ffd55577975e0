/** `llama_decode` of one sequence, for holding the training forward against it. */
import koffi from 'koffi'
import type { Adapter } from '../../src/main/engine/adapter.ts'
import { Owned } from '../../src/main/engine/ffi/owned.ts'
import type { Pointer, Struct } from '../../src/main/engine/ffi/structs.ts'
import type { Model } from '../../src/main/engine/model.ts'
import { TYPE } from '../../src/main/engine/tensor.ts'

export type DecodeOptions = {
  /** Type of the key and value cache; llama.cpp's default is F16. */
  readonly cache?: number
  /** llama.cpp's fused attention kernel, which it chooses by itself by default. */
  readonly flash?: boolean
  /** Of the context; it chooses rope factors. Default: 256. */
  readonly contextTokens?: number
}

const FLASH = { off: 0, on: 1 } as const

/** The logits after every token [tokens × vocabulary], by a fresh context that holds this sequence alone. */
export function decodeLogits(
  model: Model,
  tokens: Int32Array,
  adapter: Adapter | null,
  options: DecodeOptions = {}
): Float32Array {
  const { llama } = model.backend.native
  const params = llama.context_default_params()
  params.n_ctx = options.contextTokens ?? 256
  params.n_batch = params.n_ubatch = tokens.length
  params.n_outputs_max = params.n_outputs_max_per_seq = tokens.length
  params.n_threads = params.n_threads_batch = model.backend.threads
  params.type_k = params.type_v = options.cache ?? TYPE.F32
  params.flash_attn_type = options.flash ? FLASH.on : FLASH.off
  const made = llama.init_from_model(model.handle, params)
  if (made === null) throw new Error('llama.cpp made no context')
  const context = new Owned<Pointer>('context', made, (it) => llama.free(it))
  try {
    if (adapter) llama.set_adapters_lora(context.handle, BigUint64Array.of(adapter.handle), 1, Float32Array.of(1))
    const batch: Struct<'llama_batch'> = {
      n_tokens: tokens.length,
      token: tokens,
      embd: null,
      pos: null,
      n_seq_id: null,
      seq_id: null,
      logits: new Int8Array(tokens.length).fill(1)
    }
    const status = llama.decode(context.handle, batch)
    if (status !== 0) throw new Error(`llama_decode failed with ${status}`)
    const count = tokens.length * model.vocabulary.size
    return Float32Array.from(koffi.decode(llama.get_logits(context.handle), 'float', count) as number[])
  } finally {
    context.dispose()
  }
}

/** Logits less log Σ exp, per row: what is left of logits once the constant that no probability sees is gone. */
export function logSoftmax(logits: Float32Array, vocabulary: number): Float32Array {
  const out = new Float32Array(logits.length)
  for (let from = 0; from < logits.length; from += vocabulary) {
    const row = logits.subarray(from, from + vocabulary)
    const top = row.reduce((most, z) => Math.max(most, z), -Infinity)
    const logSum = top + Math.log(row.reduce((sum, z) => sum + Math.exp(z - top), 0))
    row.forEach((z, i) => (out[from + i] = z - logSum))
  }
  return out
}
