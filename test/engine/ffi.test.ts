/** The boundary to the native libraries: versions, struct layouts, ownership, and the fallback without shared weights. */
import { execFileSync } from 'node:child_process'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { LoraSettings } from '../../src/shared/recipe.ts'
import { createAdapter } from '../../src/main/engine/adapter.ts'
import { openBackend } from '../../src/main/engine/backend.ts'
import { pack } from '../../src/main/engine/batch.ts'
import { loadNative, PINNED } from '../../src/main/engine/ffi/libraries.ts'
import { Owned, ownedCounts } from '../../src/main/engine/ffi/owned.ts'
import { STRUCTS } from '../../src/main/engine/ffi/structs.ts'
import { Graph } from '../../src/main/engine/graph.ts'
import { loadModel } from '../../src/main/engine/model.ts'
import { AdamW } from '../../src/main/engine/optimizer.ts'
import { Parameters } from '../../src/main/engine/parameters.ts'
import { TensorPool, TYPE } from '../../src/main/engine/tensor.ts'
import { Trainer } from '../../src/main/engine/trainer.ts'
import { expectGolden, golden, goldenPath, goldenSequence } from './golden.ts'
import { owner } from './owner.ts'

const own = owner()
const native = loadNative()
const base = goldenPath(golden.parts.sft.base)

describe('libraries', () => {
  test('are the pinned versions', () => {
    expect(native.versions.ggml).toBe(PINNED.ggml)
    expect(native.versions.llama).toContain(PINNED.llama)
    expect(native.versions.commit).not.toBe('')
  })

  test('know the types by the numbers and sizes the engine uses', () => {
    const name = (it: string): string => (/_K$/.test(it) ? it.replace(/^Q/, 'q') : it.toLowerCase())
    for (const [type, number] of Object.entries(TYPE)) expect(native.ggml.type_name(number)).toBe(name(type))
    expect(native.ggml.type_size(TYPE.Q4_K) / native.ggml.blck_size(TYPE.Q4_K)).toBe(144 / 256)
  })
})

/** Written out from the C sources of the pinned build: a field out of place or of the wrong size moves those behind it. */
describe('struct layouts give the defaults of the C sources', () => {
  test('llama_context_params', () => {
    expect(native.llama.context_default_params()).toEqual({
      n_ctx: 512,
      n_batch: 2048,
      n_ubatch: 512,
      n_seq_max: 1,
      n_rs_seq: 0,
      n_outputs_max: 0,
      n_outputs_max_per_seq: 1,
      n_threads: 4,
      n_threads_batch: 4,
      ctx_type: 0,
      rope_scaling_type: -1,
      pooling_type: -1,
      attention_type: -1,
      flash_attn_type: -1,
      rope_freq_base: 0,
      rope_freq_scale: 0,
      yarn_ext_factor: -1,
      yarn_attn_factor: -1,
      yarn_beta_fast: -1,
      yarn_beta_slow: -1,
      yarn_orig_ctx: 0,
      defrag_thold: -1,
      cb_eval: null,
      cb_eval_user_data: null,
      type_k: TYPE.F16,
      type_v: TYPE.F16,
      abort_callback: null,
      abort_callback_data: null,
      embeddings: false,
      offload_kqv: true,
      no_perf: true,
      op_offload: true,
      swa_full: true,
      kv_unified: false,
      samplers: null,
      n_samplers: 0,
      ctx_other: null
    })
  })

  test('llama_model_params', () => {
    const { devices: _, ...rest } = native.llama.model_default_params()
    expect(rest).toEqual({
      tensor_buft_overrides: null,
      n_gpu_layers: -1,
      split_mode: 1,
      load_mode: expect.any(Number) as number,
      lazy_mode: expect.any(Number) as number,
      main_gpu: 0,
      tensor_split: null,
      progress_callback: null,
      progress_callback_user_data: null,
      kv_overrides: null,
      vocab_only: false,
      check_tensors: false,
      use_extra_bufts: true,
      no_host: false,
      no_alloc: false,
      load_mtp: false
    })
  })

  test('llama_model_quantize_params', () => {
    const defaults = native.llama.model_quantize_default_params()
    expect(defaults).toMatchObject({
      nthread: 0,
      ftype: 7,
      allow_requantize: false,
      quantize_output_tensor: true,
      only_copy: false,
      pure: false,
      keep_split: false,
      dry_run: false,
      imatrix: null,
      kv_overrides: null,
      tt_overrides: null,
      prune_layers: null
    })
    expect(defaults.output_tensor_type).toBe(defaults.token_embedding_type)
    expect(defaults.max_buf_size).toBeGreaterThan(2 ** 20)
  })

  test('no struct has a field that the libraries do not return', () => {
    const returned = [
      ['llama_context_params', native.llama.context_default_params()],
      ['llama_model_params', native.llama.model_default_params()],
      ['llama_model_quantize_params', native.llama.model_quantize_default_params()]
    ] as const
    for (const [name, struct] of returned) expect(Object.keys(struct)).toEqual(Object.keys(STRUCTS[name]))
  })
})

describe('ownership', () => {
  test('everything made is counted, and nothing is left after disposing', async () => {
    const backend = openBackend({ threads: 1 })
    const model = await loadModel(base, backend)
    const adapter = await createAdapter(model, LoraSettings.parse({ r: 4 }), 1)
    const parameters = new Parameters(model, { kind: 'adapter', adapter })
    const trainer = new Trainer(parameters, { keep: 'all', chunkQueries: 64, headRows: 16 })
    const optimizer = new AdamW(parameters, { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weightDecay: 0, maxGradNorm: 1 })
    for (const width of [32, 64]) {
      const [batch] = pack([goldenSequence('sft', 0), ...(width === 64 ? [goldenSequence('sft', 1)] : [])], width)
      trainer.accumulate(batch!, ({ logprobs }) => ({ logprob: logprobs, entropy: logprobs }), { wholeBatch: true })
      trainer.score(batch!, { reference: true })
    }
    optimizer.step({ a: 1e-3, b: 1e-3, weight: 0 })
    expect(ownedCounts()).toMatchObject({ backend: 1, model: 1, adapter: 1 })
    const during = ownedCounts()
    trainer.release()
    expect(ownedCounts()['graph']).toBeLessThan(during['graph']!)
    for (const it of [optimizer, trainer, parameters, adapter, model, backend]) it.dispose()
    expect(ownedCounts()).toEqual({})
  })

  test('disposing twice frees once; use after it is refused in words', () => {
    let freed = 0
    const it = new Owned('thing', 1, () => freed++)
    expect(ownedCounts()).toEqual({ thing: 1 })
    it.dispose()
    it.dispose()
    expect(freed).toBe(1)
    expect(() => it.handle).toThrow('thing was used after it was disposed')
  })

  test('a disposed model, adapter, pool, graph and backend refuse', async () => {
    const backend = openBackend({ threads: 1 })
    const model = await loadModel(base, backend)
    const adapter = await createAdapter(model, LoraSettings.parse({ r: 4 }), 1)
    const pool = new TensorPool(backend, 8)
    const x = pool.add(TYPE.F32, 4)
    pool.allocate()
    const graph = new Graph(backend, 8)
    for (const it of [graph, pool, adapter, model, backend]) it.dispose()
    expect(() => model.handle).toThrow('model was used after it was disposed')
    expect(() => adapter.handle).toThrow('adapter was used after it was disposed')
    expect(() => pool.buffer).toThrow('buffer was used after it was disposed')
    expect(() => graph.sqr(x)).toThrow('graph was used after it was disposed')
    expect(() => backend.handle).toThrow('backend was used after it was disposed')
  })

  test('wrong shapes are refused before ggml sees them', () => {
    const backend = own.backend()
    const pool = own(new TensorPool(backend, 8))
    const [a, b] = [pool.add(TYPE.F32, 4, 3), pool.add(TYPE.F32, 5, 3)]
    const g = own(new Graph(backend, 16))
    expect(() => g.mulMat(a, b)).toThrow('mulMat does not accept [4, 3, 1, 1] and [5, 3, 1, 1]')
    expect(() => g.add(a, b)).toThrow('add does not accept')
    expect(() => g.reshape(a, 5, 3)).toThrow('reshape to [5, 3, 1, 1] does not accept [4, 3, 1, 1]')
    expect(() => g.window(a, [4, 2, 1, 1], [0, 2, 0, 0])).toThrow('window')
  })
})

/** Windows hides llama.cpp's own tensors. */
test('with weights and adapter of its own the engine takes the same step, and decoding sees it', () => {
  const output = execFileSync(process.execPath, [join(import.meta.dirname, 'own-weights.fixture.ts')], {
    env: { ...process.env, REASONSMITH_OWN_WEIGHTS: '1' },
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'inherit']
  })
  const result = JSON.parse(output) as Record<'loss' | 'gradNorm' | 'before' | 'after' | 'moved', number>
  expect(result).toMatchObject({ sharesWeights: false, wrongGradients: [], owned: {} })
  expectGolden([result.loss], 'sft.loss', 'loss')
  expectGolden([result.gradNorm], 'sft.grad_norm', 'grad_norm')
  expect(result.before).toBeLessThan(1e-5)
  expect(result.after).toBeLessThan(1e-5)
  expect(result.moved).toBeGreaterThan(1e-3)
})
