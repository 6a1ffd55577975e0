/** The memory that sampling takes, and how many sequences are decoded at once where nobody says: one rule for every job. */
import type { CacheType } from '../../shared/recipe.ts'
import type { ModelConfig } from './arch/architecture.ts'
import type { Backend } from './backend.ts'
import { CACHE_TYPES, cacheHolds } from './cache-types.ts'
import { decodingContext } from './decoder.ts'
import type { Model } from './model.ts'

const F32 = 4
/** Tokens that llama.cpp computes at once: `n_ubatch` of the decoder. */
const MICRO_BATCH = 512
/** Rows of the vocabulary's size for each sequence: in llama.cpp's graph, its logits, ours, their probabilities. */
const ROWS_PER_SEQUENCE = 4
/** Of what is free when a job starts; the rest is for the system and for what else grows. */
const DEFAULT_SHARE = 0.8
/** On a CPU 64 at once are no faster than 32, and a step that takes twice as long hears a cancel later. */
const WIDEST = { cpu: 32, gpu: 64 } as const

/** Bytes a job may take: what the recipe says, or a share of what was free when the device was opened. */
export function memoryLimit(backend: Backend, limitMiB?: number): number {
  if (limitMiB !== undefined) return limitMiB * 2 ** 20
  return DEFAULT_SHARE * backend.freeAtOpen
}

/** Bytes of host memory that a device may use beside its own. */
export const hostLimit = (): number => DEFAULT_SHARE * process.availableMemory()

/** What sampling is asked for: sequences at once, and the tokens of one, prompt included. */
export type SamplingSize = {
  readonly width: number
  readonly contextTokens: number
  readonly cacheType?: CacheType | undefined
}

/** Keys and values of `width` sequences. */
export function cacheBytes(
  { layers, headDim, keyHeads }: ModelConfig,
  { width, contextTokens, cacheType = 'f16' }: SamplingSize
): number {
  const cells = decodingContext(contextTokens) * width
  const { block, bytes } = CACHE_TYPES[cacheType]
  return (layers * 2 * headDim * keyHeads * cells * bytes) / block
}

/**
 * What decoding takes beside the cache: llama.cpp's graph, of which a feed-forward layer's tensors are the most that live at
 * once, logits and probabilities. An estimate: for SmolLM2-135M the graph is planned with 13.5 MiB and takes 13.8.
 */
export const decodingBytes = ({ vocabulary, feedForward, width: d }: ModelConfig, width: number): number =>
  (MICRO_BATCH * (3 * feedForward + 4 * d) + ROWS_PER_SEQUENCE * width * vocabulary) * F32

/** The most sequences whose sampling fits these bytes; 0 when not even one does. */
export function widthWithin(config: ModelConfig, one: Omit<SamplingSize, 'width'>, bytes: number): number {
  const fixed = decodingBytes(config, 0)
  const each = cacheBytes(config, { ...one, width: 1 }) + decodingBytes(config, 1) - fixed
  return Math.max(0, Math.floor((bytes - fixed) / each))
}

/** How keys and values are kept where nobody says: in F16, in Q8_0 where only that leaves room for one sequence in `bytes`. */
export function cacheWithin(config: ModelConfig, contextTokens: number, bytes: number): CacheType {
  const fits = (cacheType: CacheType): boolean =>
    cacheHolds(config.headDim, cacheType) && widthWithin(config, { contextTokens, cacheType }, bytes) > 0
  return !fits('f16') && fits('q8_0') ? 'q8_0' : 'f16'
}

/** As many as are of use on this device. */
export const widest = ({ isCpu }: Pick<Backend, 'isCpu'>): number => WIDEST[isCpu ? 'cpu' : 'gpu']

/**
 * How many sequences to decode at once where the recipe does not say: as many as are of use, no more than there are, and at
 * most half of the memory that is allowed.
 */
export function comfortableWidth(
  { backend, config }: Pick<Model, 'backend' | 'config'>,
  one: Omit<SamplingSize, 'width'>,
  sequences: number,
  limitMiB?: number
): number {
  const fits = widthWithin(config, one, memoryLimit(backend, limitMiB) / 2)
  return Math.max(1, Math.min(widest(backend), sequences, fits))
}
