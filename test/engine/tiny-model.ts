/** A small random `llama` model as an F32 GGUF, for tests that need shapes the golden files do not have. */
import { seeded } from '../../src/shared/random.ts'
import type { Backend } from '../../src/main/engine/backend.ts'
import { writeGguf } from '../../src/main/engine/gguf-writer.ts'
import type { GgufValue } from '../../src/main/engine/gguf-writer.ts'
import { elements, TensorPool, TYPE, write } from '../../src/main/engine/tensor.ts'
import type { Tensor } from '../../src/main/engine/tensor.ts'

export type TinyShape = {
  readonly layers: number
  readonly width: number
  readonly feedForward: number
  readonly heads: number
  readonly keyHeads: number
  readonly vocabulary: number
  /** The head is the embedding itself. */
  readonly tied: boolean
  readonly contextLength: number
}

export const TINY: TinyShape = {
  layers: 2,
  width: 256,
  feedForward: 512,
  heads: 4,
  keyHeads: 2,
  vocabulary: 160,
  tied: false,
  contextLength: 256
}

const TOKEN_TYPE = { normal: 1, control: 3, unused: 5 } as const

/** Three control tokens, newline and printable ASCII as single bytes, a few merges, the rest unused. */
function tokenizer(size: number): Record<string, GgufValue> {
  const space = 'Ġ'
  const merges = [`${space} t`, 'h e', 'i n', 'r e', 'a n', `${space}t he`, `${space} a`, 'e r', 'o n']
  const ascii = Array.from({ length: 94 }, (_, i) => String.fromCharCode(33 + i))
  const control = ['<|bos|>', '<|endoftext|>', '<|pad|>']
  const known = [...control, 'Ċ', space, ...ascii, ...merges.map((merge) => merge.replace(' ', ''))]
  const tokens = [...known, ...Array.from({ length: size - known.length }, (_, i) => `<|unused_${i}|>`)]
  const type = (i: number): number =>
    i < control.length ? TOKEN_TYPE.control : i < known.length ? TOKEN_TYPE.normal : TOKEN_TYPE.unused
  return {
    'tokenizer.ggml.model': { kind: 'text', value: 'gpt2' },
    'tokenizer.ggml.pre': { kind: 'text', value: 'gpt-2' },
    'tokenizer.ggml.tokens': { kind: 'texts', value: tokens },
    'tokenizer.ggml.token_type': { kind: 'i32s', value: tokens.map((_, i) => type(i)) },
    'tokenizer.ggml.merges': { kind: 'texts', value: merges },
    'tokenizer.ggml.bos_token_id': { kind: 'u32', value: 0 },
    'tokenizer.ggml.eos_token_id': { kind: 'u32', value: 1 },
    'tokenizer.ggml.padding_token_id': { kind: 'u32', value: 2 },
    'tokenizer.ggml.add_bos_token': { kind: 'bool', value: false }
  }
}

/** A chat template in characters that the tokenizer has. */
export const CHAT_TEMPLATE =
  "{% for m in messages %}[{{ m['role'] }}] {{ m['content'] }}<|endoftext|>{% endfor %}{% if add_generation_prompt %}[assistant] {% endif %}"

/** Weights as large as those of the golden models: peaked predictions, norms away from 1. `values` go over the metadata. */
export function writeTinyModel(
  backend: Backend,
  path: string,
  shape: TinyShape = TINY,
  seed = 1,
  values: Readonly<Record<string, GgufValue>> = {}
): void {
  const { layers, width, feedForward, heads, keyHeads, vocabulary, tied, contextLength } = shape
  const headDim = width / heads
  const pool = new TensorPool(backend, layers * 9 + 8)
  const tensors: { name: string; tensor: Tensor }[] = []
  const add = (name: string, ...ne: readonly number[]): void =>
    void tensors.push({ name, tensor: pool.add(TYPE.F32, ...ne) })
  add('token_embd.weight', width, vocabulary)
  for (let i = 0; i < layers; i++) {
    add(`blk.${i}.attn_norm.weight`, width)
    add(`blk.${i}.attn_q.weight`, width, width)
    add(`blk.${i}.attn_k.weight`, width, headDim * keyHeads)
    add(`blk.${i}.attn_v.weight`, width, headDim * keyHeads)
    add(`blk.${i}.attn_output.weight`, width, width)
    add(`blk.${i}.ffn_norm.weight`, width)
    add(`blk.${i}.ffn_gate.weight`, width, feedForward)
    add(`blk.${i}.ffn_up.weight`, width, feedForward)
    add(`blk.${i}.ffn_down.weight`, feedForward, width)
  }
  add('output_norm.weight', width)
  if (!tied) add('output.weight', width, vocabulary)
  pool.allocate()
  for (const { name, tensor } of tensors) {
    const random = seeded(seed, name)
    const [mean, spread] = name.endsWith('norm.weight')
      ? [1, 0.2]
      : name.startsWith('token_embd')
        ? [0, 0.3]
        : [0, 1.2 / Math.sqrt(tensor.ne[0])]
    const values = Float32Array.from({ length: elements(tensor) }, () => mean + spread * random.normal())
    write(backend, tensor, values)
  }
  const u32 = (value: number): GgufValue => ({ kind: 'u32', value })
  writeGguf(backend, path, {
    values: {
      'general.architecture': { kind: 'text', value: 'llama' },
      'general.type': { kind: 'text', value: 'model' },
      'general.name': { kind: 'text', value: 'tiny random llama' },
      'general.file_type': u32(0),
      'llama.vocab_size': u32(vocabulary),
      'llama.context_length': u32(contextLength),
      'llama.embedding_length': u32(width),
      'llama.block_count': u32(layers),
      'llama.feed_forward_length': u32(feedForward),
      'llama.attention.head_count': u32(heads),
      'llama.attention.head_count_kv': u32(keyHeads),
      'llama.attention.key_length': u32(headDim),
      'llama.attention.value_length': u32(headDim),
      'llama.rope.dimension_count': u32(headDim),
      'llama.rope.freq_base': { kind: 'f32', value: 10000 },
      'llama.attention.layer_norm_rms_epsilon': { kind: 'f32', value: 1e-5 },
      ...tokenizer(vocabulary),
      ...values
    },
    tensors
  })
  pool.dispose()
}
