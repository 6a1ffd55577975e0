/** The base's shape, its metadata and its random start. */
import type { Backend } from '../../src/main/engine/backend.ts'
import { writeGguf } from '../../src/main/engine/gguf-writer.ts'
import type { GgufValue } from '../../src/main/engine/gguf-writer.ts'
import { elements, TensorPool, TYPE, write } from '../../src/main/engine/tensor.ts'
import { seeded } from '../../src/shared/random.ts'
import type { Random } from '../../src/shared/random.ts'
import { CONTROL_TOKENS, tokenizerValues } from './tokenizer.ts'
import type { Tokenizer } from './tokenizer.ts'

export const SHAPE = { layers: 6, width: 128, feedForward: 384, heads: 4, headDim: 32, contextLength: 1024 } as const
const ROPE_BASE = 1000

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
    'llama.rope.freq_base': real(ROPE_BASE),
    ...tokenizerValues(tokenizer)
  }
}

type Fill = (random: Random, count: number) => Float32Array
type Weight = { readonly name: string; readonly ne: readonly number[]; readonly fill: Fill }

const ones: Fill = (_, count) => new Float32Array(count).fill(1)
const normal =
  (std: number): Fill =>
  (random, count) =>
    Float32Array.from({ length: count }, () => std * random.normal())

/** A direction that all token embeddings share, so that a head can ask for a place instead of a token. */
const COMMON = (() => {
  const random = seeded('common direction')
  const raw = Array.from({ length: SHAPE.width }, () => random.normal())
  const length = Math.hypot(...raw)
  return raw.map((value) => value / length)
})()
const EMBEDDING_STD = 0.1

/** Random embeddings; half of their length lies in the common direction. */
const embeddings: Fill = (random, count) =>
  Float32Array.from(
    { length: count },
    (_, i) => EMBEDDING_STD * (random.normal() + Math.sqrt(SHAPE.width) * COMMON[i % SHAPE.width]!)
  )

/**
 * Rows of the head. Tokens that never occur are all pushed the same way, and stay as distinct as they started: enough for
 * the placeholders, so that an adapter can later tell them from each other and from unused bytes.
 */
const headRows: Fill = (random, count) =>
  Float32Array.from({ length: count }, (_, i) => {
    const name = CONTROL_TOKENS[Math.floor(i / SHAPE.width)]
    return (name?.startsWith('<|dummy') ? 0.12 : 0.02) * random.normal()
  })

/** How many tokens back each head looks at the start, by layer; the heads of later layers start at random. */
const LOOKS_BACK: readonly (readonly (number | null)[])[] = [
  [1, 2, 3, 4],
  [1, 2, 5, null]
]
/** Strength of that look; rotary frequencies below the first eight turn too slowly to tell neighbours apart. */
const LOOK = { strength: 16, frequencies: 8 } as const

/**
 * Queries or keys of a layer: random, but a head that looks `back` has a constant query u and a constant key u·e^(iθ·back),
 * whose rotary product is largest at that distance. Learning where to look from nothing takes most of a short training.
 */
function looking(layer: number, kind: 'query' | 'key'): Fill {
  const { width, headDim } = SHAPE
  const perUnit = Math.sqrt(2 / width) // a normalised embedding has √(width / 2) of the common direction
  return (random, count) => {
    const out = normal(0.7 / Math.sqrt(width))(random, count)
    LOOKS_BACK[layer]?.forEach((back, head) => {
      if (back === null) return
      for (let pair = 0; pair < LOOK.frequencies; pair++) {
        const angle = kind === 'query' ? 0 : back * ROPE_BASE ** ((-2 * pair) / headDim)
        const amplitude = Math.sqrt(LOOK.strength) * perUnit
        for (const [part, value] of [Math.cos(angle), Math.sin(angle)].entries()) {
          const row = (head * headDim + 2 * pair + part) * width
          for (let i = 0; i < width; i++) out[row + i] = 0.3 * out[row + i]! + amplitude * value * COMMON[i]!
        }
      }
    })
    return out
  }
}

/** Name, sizes [in, out] and start of every weight. */
function weights(vocabulary: number): Weight[] {
  const { layers, width, feedForward, heads, headDim } = SHAPE
  const inner = heads * headDim
  const plain = (inputs: number): Fill => normal(0.7 / Math.sqrt(inputs))
  const residual = (inputs: number): Fill => normal(0.2 / Math.sqrt(inputs * 2 * layers)) // layers start faint
  const layer = (i: number): Weight[] => [
    { name: `blk.${i}.attn_norm.weight`, ne: [width], fill: ones },
    { name: `blk.${i}.attn_q.weight`, ne: [width, inner], fill: looking(i, 'query') },
    { name: `blk.${i}.attn_k.weight`, ne: [width, inner], fill: looking(i, 'key') },
    { name: `blk.${i}.attn_v.weight`, ne: [width, inner], fill: plain(width) },
    { name: `blk.${i}.attn_output.weight`, ne: [inner, width], fill: residual(inner) },
    { name: `blk.${i}.ffn_norm.weight`, ne: [width], fill: ones },
    { name: `blk.${i}.ffn_gate.weight`, ne: [width, feedForward], fill: plain(width) },
    { name: `blk.${i}.ffn_up.weight`, ne: [width, feedForward], fill: plain(width) },
    { name: `blk.${i}.ffn_down.weight`, ne: [feedForward, width], fill: residual(feedForward) }
  ]
  return [
    { name: 'token_embd.weight', ne: [width, vocabulary], fill: embeddings },
    { name: 'output.weight', ne: [width, vocabulary], fill: headRows },
    { name: 'output_norm.weight', ne: [width], fill: ones },
    ...Array.from({ length: layers }, (_, i) => layer(i)).flat()
  ]
}

/** Writes the model with seeded random weights. Returns how many parameters it has. */
export function writeInitial(backend: Backend, path: string, tokenizer: Tokenizer, seed: number): number {
  const table = weights(tokenizer.tokens.length)
  const pool = new TensorPool(backend, table.length + 1)
  const made = table.map(({ name, ne, fill }) => ({ name, fill, tensor: pool.add(TYPE.F32, ...ne) }))
  pool.allocate()
  let parameters = 0
  for (const { name, fill, tensor } of made) {
    const count = elements(tensor)
    parameters += count
    write(backend, tensor, fill(seeded(seed, 'init', name), count))
  }
  writeGguf(backend, path, { values: metadata(tokenizer), tensors: made })
  pool.dispose()
  return parameters
}
