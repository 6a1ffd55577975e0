/** What a base must not have is refused by its name, from the header alone, before llama.cpp sees the file. */
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import type { TargetModule } from '../../src/shared/recipe.ts'
import { llama } from '../../src/main/engine/arch/llama.ts'
import { phi3 } from '../../src/main/engine/arch/phi3.ts'
import { targetModules } from '../../src/main/engine/arch/targets.ts'
import type { GgufValue } from '../../src/main/engine/gguf-writer.ts'
import { loadModel } from '../../src/main/engine/model.ts'
import { TYPE } from '../../src/main/engine/tensor.ts'
import { temporaryFolder } from './folder.ts'
import { owner } from './owner.ts'
import { FAMILIES, u32 } from './tiny-families.ts'
import type { FamilyName, TinyFamily } from './tiny-families.ts'
import { writeFamily } from './tiny-model.ts'

const own = owner()
const folder = temporaryFolder()

const SMALL = { width: 64, feedForward: 64, heads: 4, keyHeads: 2, headDim: 16, vocabulary: 120 }

/** A family whose file differs from what is supported. */
const changed = (name: FamilyName, change: Partial<TinyFamily>): TinyFamily => ({
  ...FAMILIES[name],
  ...change,
  shape: { ...FAMILIES[name].shape, ...SMALL, ...change.shape }
})
const withKeys = (name: FamilyName, values: Readonly<Record<string, GgufValue>>): TinyFamily => {
  const family: TinyFamily = FAMILIES[name]
  return changed(name, { values: (s) => ({ ...family.values?.(s), ...values }) })
}
const withTensor = (name: FamilyName, tensor: string): TinyFamily => {
  const family: TinyFamily = FAMILIES[name]
  return changed(name, { layer: (s) => ({ ...family.layer(s), [tensor]: [s.width] }) })
}
const withShape = (name: FamilyName, tensor: string, ne: readonly number[]): TinyFamily => {
  const family: TinyFamily = FAMILIES[name]
  return changed(name, { layer: (s) => ({ ...family.layer(s), [tensor]: ne }) })
}
/** Damaged or foreign headers, by a key of `llama`. */
const REFUSED_NUMBERS: readonly (readonly [key: string, value: number, message: RegExp])[] = [
  ['block_count', 0, /the key llama\.block_count is 0/],
  ['block_count', 2 ** 31, /tensors for 2147483648 layers/],
  ['embedding_length', 0, /the key llama\.embedding_length is 0/],
  ['embedding_length', 128, /the tensor token_embd\.weight is 64 × 120, the file’s own settings make it 128 × 120/],
  ['feed_forward_length', 0, /the key llama\.feed_forward_length is 0/],
  ['attention.head_count', 0, /the key llama\.attention\.head_count is 0/],
  ['attention.head_count', 8, /the tensor blk\.0\.attn_q\.weight is 64 × 64, .* make it 64 × 128/],
  ['attention.head_count_kv', 0, /the key llama\.attention\.head_count_kv is 0/],
  ['attention.head_count_kv', 3, /4 heads cannot share 3 heads of keys and values/],
  ['attention.layer_norm_rms_epsilon', NaN, /the key llama\.attention\.layer_norm_rms_epsilon is NaN/],
  ['rope.freq_base', 0, /the key llama\.rope\.freq_base is 0/],
  ['rope.freq_base', NaN, /the key llama\.rope\.freq_base is NaN/]
]
const text = (value: string): GgufValue => ({ kind: 'text', value })

describe('a base is refused for', () => {
  test.each<[string, TinyFamily, RegExp]>([
    ['its architecture', changed('llama', { architecture: 'gptneox' }), /the architecture 'gptneox' cannot be trained/],
    ['experts', withKeys('llama', { 'llama.expert_count': u32(4) }), /mixture-of-experts/],
    ['a bias', withTensor('qwen3', 'attn_q.bias'), /the bias blk\.0\.attn_q\.bias cannot be trained in 'qwen3'/],
    ['a bias that llama has', withTensor('qwen2', 'ffn_up.bias'), /the bias blk\.0\.ffn_up\.bias .* in 'qwen2'/],
    ['a tensor', withTensor('llama', 'attn_q_norm.weight'), /the tensor blk\.0\.attn_q_norm\.weight cannot be trained/],
    [
      'factors of a rotation that has none',
      changed('qwen2', { extra: () => ({ 'rope_freqs.weight': [8] }) }),
      /the tensor rope_freqs\.weight cannot be trained in 'qwen2'/
    ],
    ['what is missing', changed('llama', { layer: () => ({}) }), /the tensor blk\.0\.attn_norm\.weight is missing/],
    [
      'its rope type',
      withKeys('llama', { 'llama.rope.scaling.type': text('longrope') }),
      /the rope scaling 'longrope' cannot be trained/
    ],
    [
      'YaRN with settings of its own',
      withKeys('llama, YaRN', { 'llama.rope.scaling.yarn_beta_fast': { kind: 'f32', value: 8 } }),
      /the rope scaling key yarn_beta_fast cannot be trained/
    ],
    [
      'a partial rotation where llama.cpp’s graph has none',
      withKeys('qwen3', { 'qwen3.rope.dimension_count': u32(8) }),
      /rotating 8 of the 16 elements of a head cannot be trained in 'qwen3'/
    ],
    [
      'keys and values of different sizes',
      withKeys('llama', { 'llama.attention.value_length': u32(8) }),
      /keys and values of different sizes/
    ],
    [
      'heads that do not fill the width',
      changed('Phi-4', { shape: { headDim: 8 } }),
      /4 heads of 8 are not the width 64/
    ],
    [
      'settings that differ by layer',
      withKeys('llama', { 'llama.attention.head_count_kv': { kind: 'i32s', value: [2, 1] } }),
      /the key llama\.attention\.head_count_kv is missing, or differs by layer/
    ],
    ...REFUSED_NUMBERS.map(([key, value, message]): [string, TinyFamily, RegExp] => [
      `${key} ${value}`,
      withKeys('llama', {
        [`llama.${key}`]: Number.isInteger(value) && key !== 'rope.freq_base' ? u32(value) : { kind: 'f32', value }
      }),
      message
    ]),
    [
      'a tensor of another shape than its settings say',
      withShape('llama', 'attn_k.weight', [64, 16]),
      /the tensor blk\.0\.attn_k\.weight is 64 × 16, the file’s own settings make it 64 × 32/
    ],
    [
      'a norm of another shape',
      withShape('qwen3', 'attn_q_norm.weight', [64]),
      /the tensor blk\.0\.attn_q_norm\.weight is 64, the file’s own settings make it 16/
    ],
    [
      'a bias of another shape',
      withShape('qwen2', 'attn_q.bias', [32]),
      /the tensor blk\.0\.attn_q\.bias is 32, the file’s own settings make it 64/
    ],
    [
      'capped logits',
      withKeys('gemma3', { 'gemma3.final_logit_softcapping': { kind: 'f32', value: 30 } }),
      /final_logit_softcapping/
    ],
    [
      'a list of windows for another number of layers',
      withKeys('gemma3', { 'gemma3.attention.sliding_window_pattern': { kind: 'bools', value: [true] } }),
      /sliding_window_pattern has 1 entries for 6 layers/
    ]
  ])('%s', async (_, family, message) => {
    const backend = own.backend()
    const path = join(folder, 'refused.gguf')
    writeFamily(backend, path, family)
    const loaded: string[] = []
    const { llama: library } = backend.native
    const native = {
      ...backend.native,
      llama: {
        ...library,
        model_load_from_file: (...args: unknown[]) => (loaded.push('loaded'), library.model_load_from_file(...args))
      }
    }
    await expect(loadModel(path, { ...backend, native } as typeof backend)).rejects.toThrow(message)
    expect(loaded).toEqual([])
  })

  test('a type of ggml’s that is not known here', async () => {
    const MXFP4 = 39
    const backend = own.backend()
    const path = join(folder, 'type.gguf')
    writeFamily(backend, path, changed('llama', {}), { type: MXFP4 })
    expect(Object.values(TYPE)).not.toContain(MXFP4)
    await expect(loadModel(path, backend)).rejects.toThrow(/token_embd\.weight is of ggml’s type 39/)
  })

  test('rows that are no whole number of blocks', async () => {
    const backend = own.backend()
    const path = join(folder, 'blocks.gguf')
    writeFamily(backend, path, changed('llama', {}))
    const bytes = readFileSync(path)
    const name = 'blk.0.attn_q.weight'
    const type = bytes.indexOf(name) + name.length + 4 + 2 * 8 // behind the number of dimensions and two of them
    expect(bytes.readUInt32LE(type)).toBe(TYPE.F32)
    bytes.writeUInt32LE(TYPE.Q2_K, type)
    writeFileSync(path, bytes)
    await expect(loadModel(path, backend)).rejects.toThrow(/blk\.0\.attn_q\.weight has rows of 64 values/)
  })
})

test.each([
  ['on a device without room, with the sizes', 2 ** 16, 'memory', /weights of .* take \d+ MiB, CPU has 1 MiB free/],
  ['elsewhere, with where its words are', 2 ** 40, 'model', /llama\.cpp could not load it/]
])('what llama.cpp gives no model of is refused %s', async (_, free, code, message) => {
  const backend = own.backend()
  const path = join(folder, 'large.gguf')
  writeFamily(backend, path, changed('llama', {}))
  const native = { ...backend.native, llama: { ...backend.native.llama, model_load_from_file: () => null } }
  const device = { ...backend, isCpu: false, ownsMemory: true, freeMemory: () => free, native } as typeof backend
  const expected: unknown = expect.objectContaining({ code, message: expect.stringMatching(message) as string })
  await expect(loadModel(path, device)).rejects.toEqual(expected)
})

describe('target modules', () => {
  test.each<[string, typeof llama, 'all-linear' | TargetModule[], readonly string[]]>([
    [
      'all of llama',
      llama,
      'all-linear',
      ['q_proj', 'k_proj', 'v_proj', 'o_proj', 'gate_proj', 'up_proj', 'down_proj']
    ],
    ['all of phi3', phi3, 'all-linear', ['qkv_proj', 'o_proj', 'gate_up_proj', 'down_proj']],
    ['some, in one order', phi3, ['down_proj', 'qkv_proj'], ['qkv_proj', 'down_proj']]
  ])('%s', (_, architecture, wanted, expected) => expect(targetModules(architecture, wanted)).toEqual(expected))

  test.each<[string, typeof llama, TargetModule[], RegExp]>([
    ['a part of a fused matrix', phi3, ['q_proj'], /'phi3' has no q_proj/],
    ['a fused matrix where there are three', llama, ['o_proj', 'qkv_proj'], /'llama' has no qkv_proj/]
  ])('%s is refused', (_, architecture, wanted, message) =>
    expect(() => targetModules(architecture, wanted)).toThrow(message)
  )
})
