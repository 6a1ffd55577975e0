/** The base's shape, its metadata and its random start. */
import type { Backend } from '../../src/main/engine/backend.ts'
import { writeGguf } from '../../src/main/engine/gguf-writer.ts'
import type { GgufValue } from '../../src/main/engine/gguf-writer.ts'
import { elements, TensorPool, TYPE, write } from '../../src/main/engine/tensor.ts'
import { seeded } from '../../src/shared/random.ts'
import { tokenizerValues } from './tokenizer.ts'
import type { Tokenizer } from './tokenizer.ts'

export const SHAPE = { layers: 6, width: 128, feedForward: 384, heads: 4, headDim: 32, contextLength: 1024 } as const

export function metadata(tokenizer: Tokenizer): Record<string, GgufValue> {
  const text = (value: string): GgufValue => ({ kind: 'text', value })
  const whole = (value: number): GgufValue => ({ kind: 'u32', value })
  const real = (value: number): GgufValue => ({ kind: 'f32', value })
  return {
    'general.architecture': text('llama'),
    'general.type': text('model'),
    'general.name': text('Reasonsmith base'),
    'general.license': text('mit'),
    'llama.vocab_size': whole(tokenizer.tokens.length),
    'llama.context_length': whole(SHAPE.contextLength),
    'llama.embedding_length': whole(SHAPE.width),
    'llama.block_count': whole(SHAPE.layers),
    'llama.feed_forward_length': whole(SHAPE.feedForward),
    'llama.attention.head_count': whole(SHAPE.heads),
    'llama.attention.head_count_kv': whole(SHAPE.heads),
    'llama.attention.key_length': whole(SHAPE.headDim),
    'llama.attention.value_length': whole(SHAPE.headDim),
    'llama.attention.layer_norm_rms_epsilon': real(1e-5),
    'llama.rope.dimension_count': whole(SHAPE.headDim),
    'llama.rope.freq_base': real(1000),
    ...tokenizerValues(tokenizer)
  }
}

/** Name, sizes [in, out] and spread of every weight; `std` 0 stands for a norm, which starts at one. */
function weights(vocabulary: number): { name: string; ne: readonly number[]; std: number }[] {
  const { layers, width, feedForward, heads, headDim } = SHAPE
  const inner = heads * headDim
  const plain = (inputs: number): number => 0.7 / Math.sqrt(inputs)
  const residual = (inputs: number): number => (0.3 * plain(inputs)) / Math.sqrt(2 * layers) // layers start almost absent
  const layer = (i: number): { name: string; ne: readonly number[]; std: number }[] => [
    { name: `blk.${i}.attn_norm.weight`, ne: [width], std: 0 },
    { name: `blk.${i}.attn_q.weight`, ne: [width, inner], std: plain(width) },
    { name: `blk.${i}.attn_k.weight`, ne: [width, inner], std: plain(width) },
    { name: `blk.${i}.attn_v.weight`, ne: [width, inner], std: plain(width) },
    { name: `blk.${i}.attn_output.weight`, ne: [inner, width], std: residual(inner) },
    { name: `blk.${i}.ffn_norm.weight`, ne: [width], std: 0 },
    { name: `blk.${i}.ffn_gate.weight`, ne: [width, feedForward], std: plain(width) },
    { name: `blk.${i}.ffn_up.weight`, ne: [width, feedForward], std: plain(width) },
    { name: `blk.${i}.ffn_down.weight`, ne: [feedForward, width], std: residual(feedForward) }
  ]
  return [
    { name: 'token_embd.weight', ne: [width, vocabulary], std: 0.1 },
    { name: 'output.weight', ne: [width, vocabulary], std: 0.02 },
    { name: 'output_norm.weight', ne: [width], std: 0 },
    ...Array.from({ length: layers }, (_, i) => layer(i)).flat()
  ]
}

/** Writes the model with seeded random weights. Returns how many parameters it has. */
export function writeInitial(backend: Backend, path: string, tokenizer: Tokenizer, seed: number): number {
  const table = weights(tokenizer.tokens.length)
  const pool = new TensorPool(backend, table.length + 1)
  const made = table.map(({ name, ne, std }) => ({ name, std, tensor: pool.add(TYPE.F32, ...ne) }))
  pool.allocate()
  let parameters = 0
  for (const { name, std, tensor } of made) {
    const random = seeded(seed, 'init', name)
    const count = elements(tensor)
    parameters += count
    write(backend, tensor, Float32Array.from({ length: count }, () => (std === 0 ? 1 : std * random.normal())))
  }
  writeGguf(backend, path, { values: metadata(tokenizer), tensors: made })
  pool.dispose()
  return parameters
}
