/**
 * Layouts of the structs that are passed by value. Order and types are those of `llama.h` and `ggml.h` of the pinned build;
 * `test/engine/ffi.test.ts` holds them against the libraries' own defaults.
 */
export const STRUCTS = {
  ggml_init_params: { mem_size: 'size_t', mem_buffer: 'void*', no_alloc: 'bool' },
  gguf_init_params: { no_alloc: 'bool', ctx: 'void*' },
  llama_model_params: {
    devices: 'void*',
    tensor_buft_overrides: 'void*',
    n_gpu_layers: 'int32_t',
    split_mode: 'int',
    load_mode: 'int',
    lazy_mode: 'int',
    main_gpu: 'int32_t',
    tensor_split: 'void*',
    progress_callback: 'void*',
    progress_callback_user_data: 'void*',
    kv_overrides: 'void*',
    vocab_only: 'bool',
    check_tensors: 'bool',
    use_extra_bufts: 'bool',
    no_host: 'bool',
    no_alloc: 'bool',
    load_mtp: 'bool'
  },
  llama_context_params: {
    n_ctx: 'uint32_t',
    n_batch: 'uint32_t',
    n_ubatch: 'uint32_t',
    n_seq_max: 'uint32_t',
    n_rs_seq: 'uint32_t',
    n_outputs_max: 'uint32_t',
    n_outputs_max_per_seq: 'uint32_t',
    n_threads: 'int32_t',
    n_threads_batch: 'int32_t',
    ctx_type: 'int',
    rope_scaling_type: 'int',
    pooling_type: 'int',
    attention_type: 'int',
    flash_attn_type: 'int',
    rope_freq_base: 'float',
    rope_freq_scale: 'float',
    yarn_ext_factor: 'float',
    yarn_attn_factor: 'float',
    yarn_beta_fast: 'float',
    yarn_beta_slow: 'float',
    yarn_orig_ctx: 'uint32_t',
    defrag_thold: 'float',
    cb_eval: 'void*',
    cb_eval_user_data: 'void*',
    type_k: 'int',
    type_v: 'int',
    abort_callback: 'void*',
    abort_callback_data: 'void*',
    embeddings: 'bool',
    offload_kqv: 'bool',
    no_perf: 'bool',
    op_offload: 'bool',
    swa_full: 'bool',
    kv_unified: 'bool',
    samplers: 'void*',
    n_samplers: 'size_t',
    ctx_other: 'void*'
  },
  llama_batch: {
    n_tokens: 'int32_t',
    token: 'void*',
    embd: 'void*',
    pos: 'void*',
    n_seq_id: 'void*',
    seq_id: 'void*',
    logits: 'void*'
  },
  llama_model_quantize_params: {
    nthread: 'int32_t',
    ftype: 'int',
    output_tensor_type: 'int',
    token_embedding_type: 'int',
    allow_requantize: 'bool',
    quantize_output_tensor: 'bool',
    only_copy: 'bool',
    pure: 'bool',
    keep_split: 'bool',
    dry_run: 'bool',
    imatrix: 'void*',
    kv_overrides: 'void*',
    tt_overrides: 'void*',
    prune_layers: 'void*',
    max_buf_size: 'size_t'
  }
} as const

type StructName = keyof typeof STRUCTS
type FieldOf<T> = T extends 'bool'
  ? boolean
  : T extends 'void*'
    ? Pointer | Uint8Array | Int32Array | Int8Array | BigUint64Array | null
    : number
/** A struct as koffi takes and gives it. */
export type Struct<N extends StructName> = {
  -readonly [K in keyof (typeof STRUCTS)[N]]: FieldOf<(typeof STRUCTS)[N][K]>
}

/** An address in native memory. Only the FFI makes one. */
export type Pointer = bigint & { readonly __brand: 'Pointer' }

type Returned<S> = S extends `${infer N extends StructName} ${string}`
  ? Struct<N>
  : S extends `void* ${string}`
    ? Pointer | null
    : S extends `void ${string}`
      ? void
      : S extends `bool ${string}`
        ? boolean
        : S extends `const char* ${string}`
          ? string
          : number
/** Arguments are checked where tensors are built (`graph.ts`), since ggml answers a wrong one by aborting the process. */
export type Bound<T extends Readonly<Record<string, string>>> = {
  [K in keyof T]: (...args: readonly unknown[]) => Returned<T[K]>
}
