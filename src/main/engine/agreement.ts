/**
 * Does stock llama.cpp, through node-llama-cpp's own interface, compute with an exported adapter what the trainer's policy
 * computes with the adapter in memory? Raw logits are compared, after every token of a greedy answer.
 *
 * The base alone is compared too: node-llama-cpp may repack quantised weights for other kernels, which sum in another order
 * and round activations elsewhere. What the base alone differs by is no fault of the adapter, and is the measure then.
 */
import koffi from 'koffi'
import { getLlama, LlamaLogLevel } from 'node-llama-cpp'
import type { LlamaModel, Token } from 'node-llama-cpp'
import type { Adapter } from './adapter.ts'
import { Decoder } from './decoder.ts'
import type { Model } from './model.ts'

/** Logits are held to this, in absolute terms. */
export const LOGIT_BOUND = 1e-3
/** Where the base alone differs by more, with adapter they may differ by this many times as much. */
const KERNEL_NOISE_FACTOR = 3

export type Agreement = {
  readonly tokens: number
  /** How many tokens of the greedy answer are the same. */
  readonly sameTokens: number
  /** |Δlogit| over all tokens and the whole vocabulary. */
  readonly largest: number
  readonly mean: number
  /** The same of the base without adapter. */
  readonly baseLargest: number
  /** What `largest` was held to. */
  readonly bound: number
  readonly answer: string
  readonly agrees: boolean
}

type Rows = readonly Float32Array[]

/** Answers `prompt` greedily with `count` tokens (through end-of-turn tokens) by the policy in memory and compares. */
export async function compareWithStock(
  model: Model,
  adapter: Adapter,
  adapterPath: string,
  prompt: Int32Array,
  count: number
): Promise<Agreement> {
  const contextTokens = Math.ceil((prompt.length + count) / 256) * 256
  const decoder = new Decoder(model, { width: 1, contextTokens })
  let ours: Rows
  let ourBase: Rows
  let tokens: readonly number[]
  try {
    ours = await decodedRows(decoder, adapter, prompt, count)
    tokens = ours.map(likeliest)
    ourBase = await decodedRows(decoder, null, prompt, count, tokens)
  } finally {
    decoder.dispose()
  }
  const llama = await getLlama({
    gpu: false,
    build: 'never',
    skipDownload: true,
    progressLogs: false,
    logLevel: LlamaLogLevel.disabled
  })
  try {
    const stock = await llama.loadModel({ modelPath: model.info.path })
    const settings = { contextTokens, threads: model.backend.threads, prompt, tokens }
    const theirs = await stockRows(stock, { ...settings, lora: adapterPath })
    const theirBase = await stockRows(stock, settings)
    const { largest, mean } = difference(ours, theirs)
    const { largest: baseLargest } = difference(ourBase, theirBase)
    const bound = Math.max(LOGIT_BOUND, baseLargest > LOGIT_BOUND ? KERNEL_NOISE_FACTOR * baseLargest : 0)
    // a token may differ only where two logits are closer than the two programs
    const same = theirs.map((row, i) => likeliest(row) === tokens[i])
    const tied = theirs.every((row, i) => same[i] || row[likeliest(row)]! - row[tokens[i]!]! <= 2 * largest)
    const sameTokens = same.filter(Boolean).length
    return {
      tokens: count,
      sameTokens,
      largest,
      mean,
      baseLargest,
      bound,
      answer: model.vocabulary.decode(tokens),
      agrees: largest <= bound && (bound === LOGIT_BOUND ? sameTokens === count : tied)
    }
  } finally {
    await llama.dispose()
  }
}

/** Logits after the prompt and after each of the first `count` − 1 tokens of the answer: `forced`, or the likeliest. */
async function decodedRows(
  decoder: Decoder,
  adapter: Adapter | null,
  prompt: Int32Array,
  count: number,
  forced?: readonly number[]
): Promise<Rows> {
  const { size } = decoder.model.vocabulary
  const row = (logits: bigint): Float32Array =>
    Float32Array.from(koffi.decode(logits, 'float', size) as ArrayLike<number>)
  decoder.use(adapter)
  decoder.clear()
  const last = prompt.length - 1
  const rows = [
    row(await decoder.decode([...prompt].map((token, i) => ({ token, position: i, slot: 0, wantsLogits: i === last }))))
  ]
  while (rows.length < count) {
    const token = forced?.[rows.length - 1] ?? likeliest(rows.at(-1)!)
    rows.push(row(await decoder.decode([{ token, position: last + rows.length, slot: 0, wantsLogits: true }])))
  }
  return rows
}

/** The same from node-llama-cpp, led along `tokens`. */
async function stockRows(
  model: LlamaModel,
  s: { contextTokens: number; threads: number; prompt: Int32Array; tokens: readonly number[]; lora?: string }
): Promise<Rows> {
  const context = await model.createContext({
    contextSize: s.contextTokens,
    threads: s.threads,
    ignoreMemorySafetyChecks: true,
    ...(s.lora !== undefined && { lora: s.lora })
  })
  try {
    const sequence = context.getSequence()
    const after = async (tokens: readonly number[]): Promise<Float32Array> => {
      const last = tokens.at(-1) as Token
      const next = { generateNext: { token: true, logits: true, options: { temperature: 0 } } } as const
      const out = await sequence.controlledEvaluate([...(tokens.slice(0, -1) as Token[]), [last, next]])
      const logits = out.at(-1)?.next.logits
      if (!logits) throw new Error('node-llama-cpp gave no logits')
      const row = new Float32Array(logits.size)
      for (const [token, logit] of logits) row[token] = logit
      return row
    }
    const rows = [await after([...s.prompt])]
    for (const token of s.tokens.slice(0, -1)) rows.push(await after([token]))
    return rows
  } finally {
    await context.dispose()
  }
}

function likeliest(row: Float32Array): number {
  let best = 0
  for (let token = 1; token < row.length; token++) if (row[token]! > row[best]!) best = token
  return best
}

function difference(a: Rows, b: Rows): { largest: number; mean: number } {
  let largest = 0
  let sum = 0
  let count = 0
  a.forEach((row, i) => {
    const other = b[i]!
    if (row.length !== other.length) throw new Error(`${row.length} logits and ${other.length}`)
    for (let token = 0; token < row.length; token++) {
      const apart = Math.abs(row[token]! - other[token]!)
      largest = Math.max(largest, Number.isNaN(apart) ? Infinity : apart)
      sum += apart
    }
    count += row.length
  })
  return { largest, mean: sum / count }
}
