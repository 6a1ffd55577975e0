/**
 * What each architecture's GGUF holds, by families of models: the tensors of a layer and the keys, as llama.cpp's converters
 * write them. Written from llama.cpp's loader, not from `engine/arch`, so that the two can disagree.
 */
import type { GgufValue } from '../../src/main/engine/gguf-writer.ts'
import type { TinyShape } from './tiny-model.ts'

type Sizes = Readonly<Record<string, readonly number[]>>

export type TinyFamily = {
  readonly architecture: string
  /** What differs from TINY. */
  readonly shape: Partial<TinyShape>
  /** Tensors of one layer by name. */
  layer(s: TinyShape): Sizes
  /** Tensors beside embedding, output norm and head. */
  extra?(s: TinyShape): Sizes
  values?(s: TinyShape): Readonly<Record<string, GgufValue>>
  /** Matrices that are all zero. */
  readonly zero?: RegExp
  /** Standard deviation of the embedding. */
  readonly embedding?: number
  /** Tokens of context in which it is compared; beyond `rope.scaling.original_context_length` long factors hold. */
  readonly contextTokens?: number
}

export const u32 = (value: number): GgufValue => ({ kind: 'u32', value })
const f32 = (value: number): GgufValue => ({ kind: 'f32', value })
const text = (value: string): GgufValue => ({ kind: 'text', value })

const norms = ({ width }: TinyShape): Sizes => ({ 'attn_norm.weight': [width], 'ffn_norm.weight': [width] })
const separate = (s: TinyShape): Sizes => ({
  'attn_q.weight': [s.width, s.headDim * s.heads],
  'attn_k.weight': [s.width, s.headDim * s.keyHeads],
  'attn_v.weight': [s.width, s.headDim * s.keyHeads],
  'attn_output.weight': [s.headDim * s.heads, s.width],
  'ffn_gate.weight': [s.width, s.feedForward],
  'ffn_up.weight': [s.width, s.feedForward],
  'ffn_down.weight': [s.feedForward, s.width]
})
const fused = (s: TinyShape): Sizes => ({
  'attn_qkv.weight': [s.width, s.headDim * (s.heads + 2 * s.keyHeads)],
  'attn_output.weight': [s.headDim * s.heads, s.width],
  'ffn_up.weight': [s.width, 2 * s.feedForward],
  'ffn_down.weight': [s.feedForward, s.width]
})
const headNorms = ({ headDim }: TinyShape): Sizes => ({
  'attn_q_norm.weight': [headDim],
  'attn_k_norm.weight': [headDim]
})
const postNorms = ({ width }: TinyShape): Sizes => ({
  'post_attention_norm.weight': [width],
  'post_ffw_norm.weight': [width]
})
/** Of these weights of a layer, the biases. */
const biases = (all: Sizes, names: readonly string[]): Sizes =>
  Object.fromEntries(names.map((name) => [`${name}.bias`, [all[`${name}.weight`]![1]!]]))

const llamaLayer = (s: TinyShape): Sizes => ({ ...norms(s), ...separate(s) })
const phi3Layer = (s: TinyShape): Sizes => ({ ...norms(s), ...fused(s) })
const gemma3Layer = (s: TinyShape): Sizes => ({ ...llamaLayer(s), ...headNorms(s), ...postNorms(s) })

const llama: TinyFamily = { architecture: 'llama', shape: {}, layer: llamaLayer }

/** Long factors beyond 256 tokens of 1024; three quarters of a head turn, as in Phi-4-mini. */
const phi4Mini: TinyFamily = {
  architecture: 'phi3',
  shape: { tied: true, contextLength: 1024 },
  layer: phi3Layer,
  extra: ({ headDim }) => ({
    'rope_factors_short.weight': [(headDim * 3) / 8],
    'rope_factors_long.weight': [(headDim * 3) / 8]
  }),
  values: ({ headDim }) => ({
    'phi3.rope.dimension_count': u32((headDim * 3) / 4),
    'phi3.rope.scaling.original_context_length': u32(256),
    'phi3.rope.scaling.attn_factor': f32(Math.sqrt(1 + Math.log(4) / Math.log(256))),
    'phi3.attention.sliding_window': u32(262144)
  })
}

const gemma3: TinyFamily = {
  architecture: 'gemma3',
  shape: { layers: 6, heads: 4, headDim: 128, keyHeads: 1, tied: true },
  layer: gemma3Layer,
  values: () => ({
    'gemma3.attention.sliding_window': u32(24),
    'gemma3.rope.freq_base': f32(1e6),
    'gemma3.rope.scaling.type': text('linear'),
    'gemma3.rope.scaling.factor': f32(8)
  }),
  embedding: 0.1
}

export const FAMILIES = {
  llama,
  'Llama 3': {
    ...llama,
    shape: { tied: true },
    extra: ({ headDim }) => ({ 'rope_freqs.weight': [headDim / 2] }),
    values: () => ({ 'llama.rope.freq_base': f32(500000) })
  },
  Mistral: { ...llama, shape: { heads: 4, headDim: 128, keyHeads: 1 } },
  'llama with biases': {
    ...llama,
    layer: (s) => ({
      ...llamaLayer(s),
      ...biases(separate(s), ['attn_q', 'attn_k', 'attn_v', 'attn_output', 'ffn_gate', 'ffn_up', 'ffn_down'])
    })
  },
  'llama, linear scaling': { ...llama, values: () => ({ 'llama.rope.scaling.factor': f32(3) }) },
  'llama, YaRN': {
    ...llama,
    values: () => ({
      'llama.rope.scaling.type': text('yarn'),
      'llama.rope.scaling.factor': f32(4),
      'llama.rope.scaling.original_context_length': u32(64)
    })
  },
  qwen2: {
    architecture: 'qwen2',
    shape: { tied: true },
    layer: (s) => ({ ...llamaLayer(s), ...biases(separate(s), ['attn_q', 'attn_k', 'attn_v']) }),
    values: () => ({ 'qwen2.rope.freq_base': f32(1e6) })
  },
  qwen3: {
    architecture: 'qwen3',
    shape: { heads: 4, headDim: 128, keyHeads: 2, tied: true },
    layer: (s) => ({ ...llamaLayer(s), ...headNorms(s) }),
    values: () => ({ 'qwen3.rope.freq_base': f32(1e6) })
  },
  'Phi-4': {
    architecture: 'phi3',
    shape: {},
    layer: phi3Layer,
    values: () => ({ 'phi3.rope.freq_base': f32(250000), 'phi3.attention.sliding_window': u32(0) })
  },
  'Phi-4-mini, short context': { ...phi4Mini, contextTokens: 256 },
  'Phi-4-mini, long context': { ...phi4Mini, contextTokens: 300 },
  gemma3,
  'gemma3, a window in every layer but one': {
    ...gemma3,
    shape: { ...gemma3.shape, layers: 3 },
    values: (s) => ({
      ...gemma3.values!(s),
      'gemma3.attention.sliding_window_pattern': { kind: 'bools', value: [false, true, true] },
      'gemma3.rope.freq_base_swa': f32(500)
    })
  },
  'gemma3, its feed-forward zero': { ...gemma3, zero: /ffn_down/ },
  'gemma3, no window': {
    ...gemma3,
    shape: { ...gemma3.shape, layers: 2 },
    values: () => ({ 'gemma3.rope.freq_base': f32(1e6) })
  },
  'Gemma 3 27B’s layers': {
    ...gemma3,
    shape: { layers: 62, width: 64, feedForward: 64, heads: 2, headDim: 16, keyHeads: 2, tied: true }
  }
} as const satisfies Readonly<Record<string, TinyFamily>>
export type FamilyName = keyof typeof FAMILIES

/** One of each kind of layer, and a shape in which they train in a moment. */
export const TRAINED = [
  'Llama 3',
  'llama with biases',
  'qwen2',
  'qwen3',
  'Phi-4',
  'Phi-4-mini, long context',
  'gemma3, a window in every layer but one'
] as const satisfies readonly FamilyName[]
export const SMALL = { width: 64, feedForward: 96, heads: 4, keyHeads: 2, headDim: 16, vocabulary: 120 }
