/**
 * Does stock llama.cpp, through node-llama-cpp's own interface, compute with an exported file what the trainer's policy
 * computes with the adapter in memory? Raw logits are compared, after every token of a few greedy answers.
 *
 * An adapter must give the same logits. The base alone is compared too: node-llama-cpp may repack quantised weights for other
 * kernels, which sum in another order and round activations elsewhere. What the base alone differs by is no fault of the
 * adapter, and is the measure then. A merged model has other weights and is held to what their rounding explains.
 */
import koffi from 'koffi'
import type { Adapter } from './adapter.ts'
import { Decoder } from './decoder.ts'
import { carriedShare, isDifferent, likeliest, logitDifference } from './logit-difference.ts'
import type { LogitDifference, LogitRows } from './logit-difference.ts'
import type { Model } from './model.ts'
import type { Stock } from './stock.ts'
import { TYPE } from './tensor.ts'

/** Logits of an adapter are held to this, in absolute terms. */
export const LOGIT_BOUND = 1e-3
/** Where the base alone differs by more, with adapter they may differ by this many times as much. */
const KERNEL_NOISE_FACTOR = 3

/** One greedy answer of the policy, through end-of-turn tokens, with and (along the same tokens) without adapter. */
export type PolicyAnswer = {
  readonly prompt: Int32Array
  readonly tokens: readonly number[]
  readonly rows: LogitRows
  readonly baseRows: LogitRows
}

export type Agreement = LogitDifference & {
  /** What was held to a bound: |Δlogit| of an adapter, the mean KL of a merged model. */
  readonly measure: 'largest' | 'meanKl'
  readonly bound: number
  readonly agrees: boolean
}

/** Tokens of context that answers need. */
export const contextFor = (prompts: readonly Int32Array[], count: number): number =>
  Math.ceil((Math.max(...prompts.map((prompt) => prompt.length)) + count) / 256) * 256

/** Answers every prompt with `count` tokens by the policy in memory. */
export async function policyAnswers(
  model: Model,
  adapter: Adapter,
  prompts: readonly Int32Array[],
  count: number
): Promise<PolicyAnswer[]> {
  const rows = await rowsOf(model, adapter, prompts, count)
  return answersOf(prompts, rows, await rowsOf(model, null, prompts, count, tokensOf(rows)))
}

/** The same where the policy is a model of its own. Opens one after the other, so that memory holds one. */
export async function modelAnswers(
  open: { readonly policy: () => Promise<Model>; readonly base: () => Promise<Model> },
  promptsOf: (policy: Model) => readonly Int32Array[],
  count: number
): Promise<PolicyAnswer[]> {
  const during = async <T>(opened: Promise<Model>, work: (model: Model) => Promise<T>): Promise<T> => {
    const model = await opened
    try {
      return await work(model)
    } finally {
      model.dispose()
    }
  }
  const { prompts, rows } = await during(open.policy(), async (policy) => {
    const asked = promptsOf(policy)
    return { prompts: asked, rows: await rowsOf(policy, null, asked, count) }
  })
  const baseRows = await during(open.base(), (base) => rowsOf(base, null, prompts, count, tokensOf(rows)))
  return answersOf(prompts, rows, baseRows)
}

const tokensOf = (rows: readonly LogitRows[]): number[][] => rows.map((answer) => answer.map(likeliest))

const answersOf = (
  prompts: readonly Int32Array[],
  rows: readonly LogitRows[],
  baseRows: readonly LogitRows[]
): PolicyAnswer[] => {
  const tokens = tokensOf(rows)
  return prompts.map((prompt, i) => ({ prompt, tokens: tokens[i]!, rows: rows[i]!, baseRows: baseRows[i]! }))
}

/** The logits of an answer to each prompt, along the tokens given or the likeliest. */
async function rowsOf(
  model: Model,
  adapter: Adapter | null,
  prompts: readonly Int32Array[],
  count: number,
  forced?: readonly (readonly number[])[]
): Promise<LogitRows[]> {
  const decoder = new Decoder(model, { width: 1, contextTokens: contextFor(prompts, count) })
  try {
    const all: LogitRows[] = []
    for (const [i, prompt] of prompts.entries())
      all.push(await decodedRows(decoder, adapter, prompt, count, forced?.[i]))
    return all
  } finally {
    decoder.dispose()
  }
}

/** Logits after the prompt and after each of the first `count` − 1 tokens of the answer: `forced`, or the likeliest. */
async function decodedRows(
  decoder: Decoder,
  adapter: Adapter | null,
  prompt: Int32Array,
  count: number,
  forced?: readonly number[]
): Promise<LogitRows> {
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

/** What the training changed: the base alone along the policy's answers. The yardstick of every other difference. */
export const learnedDifference = (answers: readonly PolicyAnswer[]): LogitDifference =>
  logitDifference(
    answers.map(({ rows }) => rows),
    answers.map(({ baseRows }) => baseRows)
  )

export type AdapterAgreement = Agreement & {
  /** What |Δlogit| is without any adapter. */
  readonly baseLargest: number
}

/** The base with the exported adapter through `stock`, against the policy. */
export const compareAdapter = (
  stock: Stock,
  model: Model,
  answers: readonly PolicyAnswer[],
  adapterPath: string
): Promise<AdapterAgreement> =>
  compareExactly(stock, answers, { path: model.info.path, lora: adapterPath }, model.info.path)

/** A file with the policy's own weights through `stock`, with an adapter or without, against the policy; `base` is the measure. */
export async function compareExactly(
  stock: Stock,
  answers: readonly PolicyAnswer[],
  exported: { readonly path: string; readonly lora?: string },
  base: string
): Promise<AdapterAgreement> {
  const ours = answers.map(({ rows }) => rows)
  const ourBase = answers.map(({ baseRows }) => baseRows)
  const theirs = await stock.rowsAlong(exported.path, answers, exported.lora)
  const theirBase = await stock.rowsAlong(base, answers)
  const found = logitDifference(ours, theirs)
  const { largest: baseLargest } = logitDifference(ourBase, theirBase)
  const noisy = baseLargest > LOGIT_BOUND
  const bound = noisy ? Math.max(LOGIT_BOUND, KERNEL_NOISE_FACTOR * baseLargest) : LOGIT_BOUND
  // a token may differ only where kernels differ, and two logits are closer than the two programs
  const sameChoice = noisy ? !isDifferent(ours, theirs, 2 * found.largest) : found.sameTokens === found.tokens
  const agrees = found.largest <= bound && sameChoice
  return { ...found, measure: 'largest', bound, agrees, baseLargest }
}

/** Relative rms that rounding activations costs in each kernel: half a unit of F16 and BF16. */
const ACTIVATION_ROUNDING: Readonly<Record<number, number>> = {
  [TYPE.F32]: 0,
  [TYPE.F16]: 2 ** -12,
  [TYPE.BF16]: 2 ** -9
}
/** Of quantised types: 8 bits in blocks of up to 256, whose largest of normal numbers is 2.9 deviations. */
const BLOCK_ROUNDING = 2.9 / 127 / Math.sqrt(12)
/** Keys and values are F16 in either program; inputs a little apart round to different sides. */
const CACHE_ROUNDING = 2 ** -12
/** Beyond one nat per token the file is another model, whatever rounding may explain. */
const MOST_KL = 1
/** For gains above one on the way to the logits. */
const GAIN = 2

export type Rounding = {
  /** Relative rms error of the file's weights (`compareWeights`). */
  readonly weights: number
  /** Types of the matrices of the file, and of the base the policy runs on. */
  readonly types: readonly number[]
  readonly baseTypes: readonly number[]
  /** Matrices that a token passes one after another: the linears of every layer, and the head. */
  readonly depth: number
}

/**
 * How far rounding may move the logits, rms, for logits of standard deviation `spread`. Each of `depth` matrices adds an
 * independent relative error: that of the file's weights, that of activations in either program's kernels, and that of the
 * cache. Independent errors add up as √depth (a random walk with gain one); twice that is allowed.
 */
export function roundingBound({ weights, types, baseTypes, depth }: Rounding, spread: number): number {
  const activations = (of: readonly number[]): number =>
    Math.max(...of.map((type) => ACTIVATION_ROUNDING[type] ?? BLOCK_ROUNDING))
  const each = Math.hypot(weights, activations(types), activations(baseTypes), CACHE_ROUNDING)
  return GAIN * each * Math.sqrt(depth) * spread
}

/**
 * Of what the training changed, a merged model must carry all. Noise of the base's kernels draws that share to ½ (see
 * `carriedShare`; 0.58 was measured on a Q4_1 base with an adapter hardly stronger than the noise), so no more is asked than
 * what noise alone cannot take away.
 */
const CARRIED = { least: 0.25, most: 1.75 }

export type MergedAgreement = Agreement & {
  /** `carriedShare` of what the training changed; null where it changed nothing. */
  readonly carried: number | null
}

/**
 * A merged model through `stock`, against the policy. An error δ of the logits moves the distribution by a KL of δ²/2 at most
 * (to second order); that of `roundingBound` is the bound of the mean, one nat at most. `strict`, for a model that is merged
 * and not quantised, also wants what the training changed, and the same greedy tokens, except where the policy's own logits
 * of the two tokens are closer than twice four times that δ.
 */
export async function compareMerged(
  stock: Stock,
  answers: readonly PolicyAnswer[],
  path: string,
  rounding: Rounding,
  strict: boolean
): Promise<MergedAgreement> {
  const ours = answers.map(({ rows }) => rows)
  const base = answers.map(({ baseRows }) => baseRows)
  const theirs = await stock.rowsAlong(path, answers)
  const found = logitDifference(ours, theirs)
  const carried = carriedShare(ours, base, theirs)
  const delta = roundingBound(rounding, found.spread)
  const bound = Math.min(MOST_KL, delta ** 2 / 2)
  const merged = carried === null || (carried >= CARRIED.least && carried <= CARRIED.most)
  const agrees = found.meanKl <= bound && (!strict || (merged && !isDifferent(ours, theirs, 2 * 4 * delta)))
  return { ...found, measure: 'meanKl', bound, agrees, carried }
}
