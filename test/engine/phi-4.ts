/** Phi-4 (14.7 billion weights) as a Q4_K_M file would say it, for plans: nothing of it exists. */
import { architectureOf } from '../../src/main/engine/arch/index.ts'
import { dataBytes } from '../../src/main/engine/gguf.ts'
import type { GgufInfo, GgufTensor } from '../../src/main/engine/gguf.ts'
import type { PlannedBase } from '../../src/main/engine/memory-plan.ts'
import { shape, TYPE } from '../../src/main/engine/tensor.ts'

const [LAYERS, WIDTH, FEED_FORWARD, HEADS, KEY_HEADS, VOCABULARY] = [40, 5120, 17920, 40, 10, 100352]

const NUMBERS: Readonly<Record<string, number>> = {
  'phi3.block_count': LAYERS,
  'phi3.embedding_length': WIDTH,
  'phi3.feed_forward_length': FEED_FORWARD,
  'phi3.attention.head_count': HEADS,
  'phi3.attention.head_count_kv': KEY_HEADS,
  'phi3.attention.layer_norm_rms_epsilon': 1e-5,
  'phi3.attention.sliding_window': 0,
  'phi3.rope.dimension_count': WIDTH / HEADS,
  'phi3.rope.freq_base': 250000,
  'phi3.context_length': 16384
}

/** Layers whose `ffn_down` gets more bits (`llama-quant.cpp`, use_more_bits). */
const moreBits = (layer: number): boolean => {
  const eighth = Math.floor(LAYERS / 8)
  return layer < eighth || layer >= Math.floor((7 * LAYERS) / 8) || (layer - eighth) % 3 === 2
}

/** Types as llama.cpp's Q4_K_M mixes them. */
export function phi4(): PlannedBase {
  const tensors = new Map<string, GgufTensor>()
  const add = (name: string, type: number, ...ne: readonly number[]): void =>
    void tensors.set(name, { type, ne: shape(...ne), offset: 0 })
  add('token_embd.weight', TYPE.Q4_K, WIDTH, VOCABULARY)
  add('output_norm.weight', TYPE.F32, WIDTH)
  add('output.weight', TYPE.Q6_K, WIDTH, VOCABULARY)
  for (let layer = 0; layer < LAYERS; layer++) {
    const named = (name: string): string => `blk.${layer}.${name}.weight`
    add(named('attn_norm'), TYPE.F32, WIDTH)
    add(named('attn_qkv'), TYPE.Q5_K, WIDTH, WIDTH + (2 * KEY_HEADS * WIDTH) / HEADS)
    add(named('attn_output'), TYPE.Q4_K, WIDTH, WIDTH)
    add(named('ffn_norm'), TYPE.F32, WIDTH)
    add(named('ffn_up'), TYPE.Q4_K, WIDTH, 2 * FEED_FORWARD)
    add(named('ffn_down'), moreBits(layer) ? TYPE.Q6_K : TYPE.Q4_K, FEED_FORWARD, WIDTH)
  }
  const texts: Readonly<Record<string, string>> = { 'general.architecture': 'phi3' }
  const info: GgufInfo = {
    path: 'phi-4.Q4_K_M.gguf',
    bytes: [...tensors.values()].reduce((sum, tensor) => sum + dataBytes(tensor), 0),
    tensors,
    number: (key) => NUMBERS[key],
    text: (key) => texts[key],
    list: () => undefined,
    has: (key) => key in NUMBERS || key in texts
  }
  return { info, ...architectureOf(info) }
}
