/** The types in which keys and values can be kept while sampling, and which heads they hold. */
import { AppError } from '../../shared/errors.ts'
import type { CacheType } from '../../shared/recipe.ts'
import { TYPE } from './tensor.ts'

/**
 * Of a block: values, of which a head must have a whole number, and bytes. llama.cpp needs flash attention for quantised
 * values and turns it on by itself (llama_init_from_model). No recipe asks for f32: it holds decoding against training.
 */
export const CACHE_TYPES = {
  f32: { type: TYPE.F32, block: 1, bytes: 4 },
  f16: { type: TYPE.F16, block: 1, bytes: 2 },
  q8_0: { type: TYPE.Q8_0, block: 32, bytes: 34 }
} as const

/** Whether a cache of this type can hold heads of this size. */
export const cacheHolds = (headDim: number, type: CacheType | 'f32'): boolean => headDim % CACHE_TYPES[type].block === 0

/** Throws AppError('recipe') naming the setting where a cache of this type cannot hold the heads of this base. */
export function requireCache(headDim: number, type: CacheType | 'f32'): void {
  if (cacheHolds(headDim, type)) return
  throw new AppError(
    'recipe',
    `cache_type is ${type}, which holds blocks of ${CACHE_TYPES[type].block} values: the heads of this base have ${headDim}`,
    'Set cache_type to f16.'
  )
}
