/** The memory that sampling takes, and how many sequences are decoded at once where nobody says: one rule for every job. */
import type { ModelConfig } from './arch/architecture.ts'
import type { Backend } from './backend.ts'
import { decodingContext } from './decoder.ts'
import type { Model } from './model.ts'

const F32 = 4
const F16 = 2

/** llama.cpp reserves the logits of one batch of this many tokens. */
const DECODE_BATCH = 512
/** Rows of the vocabulary's size for each sequence: llama.cpp's logits, ours, their probabilities there and here. */
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

/** Keys and values of `width` sequences of `contextTokens` tokens, prompt included. */
export function cacheBytes(
  { layers, headDim, keyHeads }: ModelConfig,
  { width, contextTokens }: { readonly width: number; readonly contextTokens: number }
): number {
  const cells = decodingContext(contextTokens) * width
  return layers * 2 * headDim * keyHeads * cells * F16
}

/** What decoding takes beside the cache: logits and probabilities. An estimate. */
export const decodingBytes = ({ vocabulary }: ModelConfig, width: number): number =>
  (DECODE_BATCH + ROWS_PER_SEQUENCE * width) * vocabulary * F32

/** The most sequences whose sampling fits these bytes; 0 when not even one does. */
export function widthWithin(config: ModelConfig, contextTokens: number, bytes: number): number {
  const fixed = decodingBytes(config, 0)
  const each = cacheBytes(config, { width: 1, contextTokens }) + decodingBytes(config, 1) - fixed
  return Math.max(0, Math.floor((bytes - fixed) / each))
}

/** As many as are of use on this device. */
export const widest = ({ isCpu }: Pick<Backend, 'isCpu'>): number => WIDEST[isCpu ? 'cpu' : 'gpu']

/**
 * How many sequences to decode at once where the recipe does not say: as many as are of use, no more than there are, and at
 * most half of the memory that is allowed.
 */
export function comfortableWidth(
  model: Pick<Model, 'backend' | 'config'>,
  contextTokens: number,
  sequences: number,
  limitMiB?: number
): number {
  const { backend, config } = model
  const fits = widthWithin(config, contextTokens, memoryLimit(backend, limitMiB) / 2)
  return Math.max(1, Math.min(widest(backend), sequences, fits))
}
