/** The memory of answering: how many answers are sampled at once, how keys and values are kept, and whether that fits. */
import { AppError } from '../../shared/errors.ts'
import type { CacheType, EvaluateRecipe } from '../../shared/recipe.ts'
import { cacheHolds, requireCache } from '../engine/cache-types.ts'
import { dataBytes } from '../engine/gguf.ts'
import { processBytes } from '../engine/memory-sizes.ts'
import type { Model } from '../engine/model.ts'
import { cacheBytes, cacheWithin, decodingBytes, memoryLimit, widest, widthWithin } from '../engine/sampling-memory.ts'

/** `count` answers are asked for; a width or a cache named here stays. */
export type Answering = {
  readonly count: number
  readonly contextTokens: number
  readonly width?: number | undefined
  readonly cacheType?: CacheType | undefined
}

/** What a plan needs of a model: nothing that is loaded. */
export type PlannedModel = Pick<Model, 'backend' | 'config' | 'info'>

export type AnsweringPlan = {
  readonly width: number
  readonly cacheType: CacheType
  readonly bytes: Readonly<Record<'weights' | 'process' | 'KV cache' | 'decoding', number>>
  readonly totalBytes: number
  readonly limitBytes: number
  readonly fits: boolean
}

/**
 * As many at once as are of use, in half of the memory allowed at most and beside the weights; in F16, in Q8_0 where not one
 * would fit otherwise. Loads nothing. Throws AppError('recipe') where the cache asked for cannot hold the base's heads.
 */
export function planAnswering(
  { backend, config, info }: PlannedModel,
  { count, contextTokens, ...asked }: Answering,
  limitMiB?: number
): AnsweringPlan {
  if (asked.cacheType) requireCache(config.headDim, asked.cacheType)
  const limitBytes = memoryLimit(backend, limitMiB)
  const weights = [...info.tensors.values()].reduce((sum, tensor) => sum + dataBytes(tensor), 0)
  const process = backend.isCpu ? processBytes(config) : 0
  const room = Math.min(limitBytes / 2, limitBytes - weights - process)
  const cacheType = asked.cacheType ?? cacheWithin(config, contextTokens, room)
  const fitting = widthWithin(config, { contextTokens, cacheType }, room)
  const width = asked.width ?? Math.max(1, Math.min(widest(backend), count, fitting))
  const bytes = {
    weights,
    process,
    'KV cache': cacheBytes(config, { contextTokens, cacheType, width }),
    decoding: decodingBytes(config, width)
  }
  const totalBytes = Object.values(bytes).reduce((sum, it) => sum + it, 0)
  return { width, cacheType, bytes, totalBytes, limitBytes, fits: totalBytes <= limitBytes }
}

/**
 * The plan of models that answer one after another: a width and a cache that fit each, since all must answer alike, and the
 * bytes of the one that takes most. Q8_0 is chosen only where it holds the heads of all; where it does not, a model too large
 * for F16 gives a plan that does not fit.
 */
export function planAnsweringInTurn(
  models: readonly PlannedModel[],
  asked: Answering,
  limitMiB?: number
): AnsweringPlan {
  const plansFor = (answering: Answering): AnsweringPlan[] =>
    models.map((model) => planAnswering(model, answering, limitMiB))
  const isNeeded = plansFor(asked).some(({ cacheType }) => cacheType === 'q8_0')
  const isHeld = models.every(({ config }) => cacheHolds(config.headDim, 'q8_0'))
  const cached = { ...asked, cacheType: isNeeded && isHeld ? 'q8_0' : 'f16' } as const
  const width = Math.min(...plansFor(cached).map((plan) => plan.width))
  return plansFor({ ...cached, width }).reduce((most, plan) => (plan.totalBytes > most.totalBytes ? plan : most))
}

/** Throws AppError('memory') with the setting to change when the plan does not fit. */
export function requireAnswering(
  { width, bytes, totalBytes, limitBytes, fits }: AnsweringPlan,
  recipe: Pick<EvaluateRecipe, 'rollout_width'>
): void {
  if (fits) return
  const mib = (value: number): string => (value / 2 ** 20).toFixed(1)
  const held = bytes.weights + bytes.process
  throw new AppError(
    'memory',
    `sampling ${width === 1 ? 'one answer' : `${width} answers at once`} needs ${mib(totalBytes)} MiB, ${mib(limitBytes)} MiB are allowed`,
    held > limitBytes
      ? 'Choose a smaller base or raise memory_limit_mib.'
      : recipe.rollout_width !== undefined && width > 1
        ? `Lower rollout_width (${width}) or max_completion_length.`
        : 'Lower max_completion_length or max_prompt_length, or raise memory_limit_mib.'
  )
}
