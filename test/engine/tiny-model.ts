/** Small random models of every architecture as GGUFs, for tests that need shapes the golden files do not have. */
import { seeded } from '../../src/shared/random.ts'
import type { Backend } from '../../src/main/engine/backend.ts'
import { writeGguf } from '../../src/main/engine/gguf-writer.ts'
import type { GgufValue } from '../../src/main/engine/gguf-writer.ts'
import { elements, rowBytes, TensorPool, TYPE, write } from '../../src/main/engine/tensor.ts'
import type { Tensor } from '../../src/main/engine/tensor.ts'
import { FAMILIES, u32 } from './tiny-families.ts'
import type { TinyFamily } from './tiny-families.ts'

export type TinyShape = {
  readonly layers: number
  readonly width: number
  readonly feedForward: number
  readonly heads: number
  readonly keyHeads: number
  /** Elements of one head. */
  readonly headDim: number
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
  headDim: 64,
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

/** As writeFamily, of plain `llama`; a head is a share of the width. `values` go over the metadata. */
export function writeTinyModel(
  backend: Backend,
  path: string,
  shape: TinyShape = TINY,
  seed = 1,
  values: Readonly<Record<string, GgufValue>> = {}
): void {
  const headDim = shape.width / shape.heads
  writeFamily(backend, path, { ...FAMILIES.llama, shape: { ...shape, headDim }, values: () => values }, { seed })
}

export const shapeOf = (family: TinyFamily): TinyShape => ({ ...TINY, ...family.shape })

/** Mean and standard deviation of a tensor's values: peaked predictions, norms away from 1. */
function spreadOf(name: string, [input = 1]: readonly number[], embedding: number): readonly [number, number] {
  if (name.endsWith('norm.weight')) return [1, 0.2]
  if (name.endsWith('.bias')) return [0, 0.5]
  if (name.startsWith('token_embd')) return [0, embedding]
  return [0, 1.2 / Math.sqrt(input)]
}

/** Rope factors lie between 1 and 4, the higher the lower the frequency. */
const factorsOf = (count: number, seed: number): Float32Array =>
  Float32Array.from({ length: count }, (_, i) => 1 + (3 * (i + (seed % 7) / 7)) / count)

/**
 * Writes a random model. Matrices of the layers, embedding and head are of `type` (a number of ggml's), the rest F32.
 * What a type needs of importances is random here.
 */
export function writeFamily(
  backend: Backend,
  path: string,
  family: TinyFamily,
  { seed = 1, type = TYPE.F32 }: { readonly seed?: number; readonly type?: number } = {}
): void {
  const s = shapeOf(family)
  const sizes: Readonly<Record<string, readonly number[]>> = {
    'token_embd.weight': [s.width, s.vocabulary],
    ...Object.fromEntries(
      Array.from({ length: s.layers }, (_, i) =>
        Object.entries(family.layer(s)).map(([name, ne]) => [`blk.${i}.${name}`, ne] as const)
      ).flat()
    ),
    'output_norm.weight': [s.width],
    ...(s.tied ? {} : { 'output.weight': [s.width, s.vocabulary] }),
    ...family.extra?.(s)
  }
  const pool = new TensorPool(backend, Object.keys(sizes).length + 1)
  const tensors = Object.entries(sizes).map(([name, ne]) => ({
    name,
    tensor: pool.add(ne.length > 1 ? type : TYPE.F32, ...ne)
  }))
  pool.allocate()
  for (const { name, tensor } of tensors) {
    const random = seeded(seed, name)
    const [mean, spread] = family.zero?.test(name) ? [0, 0] : spreadOf(name, tensor.ne, family.embedding ?? 0.3)
    const values = name.startsWith('rope_')
      ? factorsOf(elements(tensor), name.length)
      : Float32Array.from({ length: elements(tensor) }, () => mean + spread * random.normal())
    write(backend, tensor, tensor.type === TYPE.F32 ? values : quantised(backend, tensor, values))
  }
  const key = (name: string): string => `${family.architecture}.${name}`
  writeGguf(backend, path, {
    values: {
      'general.architecture': { kind: 'text', value: family.architecture },
      'general.type': { kind: 'text', value: 'model' },
      'general.name': { kind: 'text', value: 'tiny and random' }, // llama.cpp expects tokens of a model named phi3
      'general.file_type': u32(0),
      [key('vocab_size')]: u32(s.vocabulary),
      [key('context_length')]: u32(s.contextLength),
      [key('embedding_length')]: u32(s.width),
      [key('block_count')]: u32(s.layers),
      [key('feed_forward_length')]: u32(s.feedForward),
      [key('attention.head_count')]: u32(s.heads),
      [key('attention.head_count_kv')]: u32(s.keyHeads),
      [key('attention.key_length')]: u32(s.headDim),
      [key('attention.value_length')]: u32(s.headDim),
      [key('rope.dimension_count')]: u32(s.headDim),
      [key('rope.freq_base')]: { kind: 'f32', value: 10000 },
      [key('attention.layer_norm_rms_epsilon')]: { kind: 'f32', value: 1e-5 },
      ...tokenizer(s.vocabulary),
      ...family.values?.(s)
    },
    tensors
  })
  pool.dispose()
}

/** A matrix's values in its own type, by ggml's quantiser. */
function quantised(backend: Backend, { type, ne }: Tensor, values: Float32Array): Uint8Array {
  const random = seeded('importance')
  const importance = Float32Array.from({ length: ne[0] }, () => 0.5 + random.next())
  const bytes = new Uint8Array(rowBytes(backend.native, type, ne[0]) * ne[1])
  backend.native.ggml.quantize_chunk(type, values, bytes, 0, ne[1], ne[0], importance)
  return bytes
}
