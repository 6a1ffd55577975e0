/**
 * Does this device compute what it should? One decoder layer with LoRA on all seven projections, two packed sequences, its
 * loss and its gradients, against double precision on the host. The same engine code as in training runs here.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { LoraSettings } from '../../../shared/recipe.ts'
import { seeded } from '../../../shared/random.ts'
import { createAdapter } from '../adapter.ts'
import type { Adapter } from '../adapter.ts'
import type { Backend } from '../backend.ts'
import { pack } from '../batch.ts'
import { writeGguf } from '../gguf-writer.ts'
import type { GgufValue } from '../gguf-writer.ts'
import { loadModel } from '../model.ts'
import type { Model } from '../model.ts'
import { Parameters } from '../parameters.ts'
import { elements, readF32, TensorPool, TYPE, write } from '../tensor.ts'
import { Trainer } from '../trainer.ts'
import { referenceLogprobs } from './reference.ts'
import type { ReferenceModel } from './reference.ts'

const SIZE = { width: 64, feedForward: 96, heads: 4, keyHeads: 2, headDim: 16, vocabulary: 48, rank: 4 } as const
const ROPE_BASE = 10000
const NORM_EPS = 1e-5
const SEQUENCES = [21, 11] as const
/** Gradient entries per matrix that are held against central differences. */
const SAMPLED = 3
const STEP = 1e-4

/** Largest errors relative to the largest value of their kind. F32 sums make 1e-6; TF32 or F16 units make up to 1e-2. */
export type SelfTest = {
  readonly logprobs: number
  readonly gradients: number
  readonly bound: number
  readonly passes: boolean
  readonly sharesWeights: boolean
  /** Everything that was computed, for comparing devices bit by bit. */
  readonly values: Float32Array
}

const CPU_BOUND = 1e-4
const GPU_BOUND = 2e-2

export async function selfTest(backend: Backend): Promise<SelfTest> {
  const folder = mkdtempSync(join(tmpdir(), 'reasonsmith-'))
  const owned: { dispose(): void }[] = []
  const own = <T extends { dispose(): void }>(it: T): T => {
    owned.push(it)
    return it
  }
  try {
    const path = join(folder, 'layer.gguf')
    const weights = writeLayer(backend, path)
    const model = own(await loadModel(path, backend))
    const lora = LoraSettings.parse({ r: SIZE.rank, lora_alpha: 2 * SIZE.rank })
    const adapter = own(await createAdapter(model, lora, 1))
    fillB(adapter)
    const parameters = own(new Parameters(model, { kind: 'adapter', adapter }))
    const trainer = own(new Trainer(parameters, { keep: 'all', chunkQueries: 16, headRows: 16 }))
    const sequences = SEQUENCES.map((length, i) => ({
      tokens: Int32Array.from({ length }, (_, t) => (t * 7 + i * 5 + 3) % SIZE.vocabulary),
      mask: new Uint8Array(length).fill(1, 1)
    }))
    const [batch] = pack(sequences, 64)
    const { logprobs } = trainer.accumulate(batch!, (output) => ({
      logprob: new Float32Array(output.logprobs.length).fill(1), // the gradient of Σ log p
      entropy: new Float32Array(output.logprobs.length)
    }))
    const gradients = new Map(parameters.list.map((it) => [it.name, readF32(backend, it.gradient)]))

    const reference = referenceModel(model, adapter, weights)
    const total = (): number =>
      sequences.flatMap(({ tokens }) => referenceLogprobs(reference, tokens)).reduce((sum, value) => sum + value, 0)
    const expected = sequences.flatMap(({ tokens }) => referenceLogprobs(reference, tokens))
    const logprobError = error(logprobs, expected)
    let gradientError = 0
    for (const [name, gradient] of gradients) {
      const values = reference.weights.get(name)!
      const at = strongest(gradient, SAMPLED)
      const slopes = at.map((i) => slope(values, i, total))
      gradientError = Math.max(gradientError, error(at.map((i) => gradient[i]!), slopes)) // prettier-ignore
    }
    const bound = backend.isCpu ? CPU_BOUND : GPU_BOUND
    return {
      logprobs: logprobError,
      gradients: gradientError,
      bound,
      passes: logprobError <= bound && gradientError <= bound,
      sharesWeights: model.sharesWeights,
      values: Float32Array.from([...logprobs, ...[...gradients.values()].flatMap((it) => [...it])])
    }
  } finally {
    for (const it of owned.reverse()) it.dispose()
    rmSync(folder, { recursive: true, force: true })
  }
}

/** Indices of the largest entries, and one of the middle: zeros would prove nothing. */
function strongest(values: Float32Array, count: number): number[] {
  const order = [...values.keys()].sort((a, b) => Math.abs(values[b]!) - Math.abs(values[a]!))
  return [...order.slice(0, count - 1), order[order.length >> 1]!]
}

function slope(values: Float64Array, i: number, f: () => number): number {
  const before = values[i]!
  values[i] = before + STEP
  const above = f()
  values[i] = before - STEP
  const below = f()
  values[i] = before
  return (above - below) / (2 * STEP)
}

/** The largest difference over the largest expected value; Infinity where something is not a number. */
export function error(ours: ArrayLike<number>, expected: ArrayLike<number>): number {
  let [apart, most] = [0, 0]
  for (let i = 0; i < expected.length; i++) {
    const difference = Math.abs(ours[i]! - expected[i]!)
    apart = Math.max(apart, Number.isNaN(difference) ? Infinity : difference)
    most = Math.max(most, Math.abs(expected[i]!))
  }
  return apart / most
}

function fillB(adapter: Adapter): void {
  for (const { target, b } of adapter.pairs) {
    const random = seeded('self-test', 'lora_b', target)
    write(
      adapter.model.backend,
      b,
      Float32Array.from({ length: elements(b) }, () => 0.3 * random.normal())
    )
  }
  adapter.publish()
}

function referenceModel(model: Model, adapter: Adapter, weights: Map<string, Float32Array>): ReferenceModel {
  const { backend } = model
  const trained = adapter.pairs.flatMap(({ target, a, b }): [string, Float32Array][] => [
    [`${target}.lora_a`, readF32(backend, a)],
    [`${target}.lora_b`, readF32(backend, b)]
  ])
  return {
    ...SIZE,
    layers: 1,
    normEps: NORM_EPS,
    ropeBase: ROPE_BASE,
    loraScale: adapter.scale,
    weights: new Map([...weights, ...trained].map(([name, values]) => [name, Float64Array.from(values)]))
  }
}

/** Writes a random one-layer F32 model; its vocabulary is bare ids. */
function writeLayer(backend: Backend, path: string): Map<string, Float32Array> {
  const { width, feedForward, keyHeads, headDim, vocabulary, heads } = SIZE
  const sizes: Readonly<Record<string, readonly number[]>> = {
    'token_embd.weight': [width, vocabulary],
    'blk.0.attn_norm.weight': [width],
    'blk.0.attn_q.weight': [width, heads * headDim],
    'blk.0.attn_k.weight': [width, keyHeads * headDim],
    'blk.0.attn_v.weight': [width, keyHeads * headDim],
    'blk.0.attn_output.weight': [heads * headDim, width],
    'blk.0.ffn_norm.weight': [width],
    'blk.0.ffn_gate.weight': [width, feedForward],
    'blk.0.ffn_up.weight': [width, feedForward],
    'blk.0.ffn_down.weight': [feedForward, width],
    'output_norm.weight': [width],
    'output.weight': [width, vocabulary]
  }
  const pool = new TensorPool(backend, 16)
  try {
    const tensors = Object.entries(sizes).map(([name, ne]) => ({ name, tensor: pool.add(TYPE.F32, ...ne) }))
    pool.allocate()
    const values = new Map(
      tensors.map(({ name, tensor }) => {
        const random = seeded('self-test', name)
        const [mean, spread] = name.includes('norm')
          ? [1, 0.2]
          : [0, name.startsWith('token') ? 0.5 : 1 / Math.sqrt(tensor.ne[0])]
        const data = Float32Array.from({ length: elements(tensor) }, () => mean + spread * random.normal())
        write(backend, tensor, data)
        return [name, data]
      })
    )
    const u32 = (value: number): GgufValue => ({ kind: 'u32', value })
    writeGguf(backend, path, {
      values: {
        'general.architecture': { kind: 'text', value: 'llama' },
        'llama.vocab_size': u32(vocabulary),
        'llama.context_length': u32(64),
        'llama.embedding_length': u32(width),
        'llama.block_count': u32(1),
        'llama.feed_forward_length': u32(feedForward),
        'llama.attention.head_count': u32(heads),
        'llama.attention.head_count_kv': u32(keyHeads),
        'llama.rope.dimension_count': u32(headDim),
        'llama.rope.freq_base': { kind: 'f32', value: ROPE_BASE },
        'llama.attention.layer_norm_rms_epsilon': { kind: 'f32', value: NORM_EPS },
        'tokenizer.ggml.model': { kind: 'text', value: 'none' }
      },
      tensors
    })
    return values
  } finally {
    pool.dispose()
  }
}
