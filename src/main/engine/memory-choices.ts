/** The settings that a memory plan chooses from, and in words what each gives up. */
import { cacheHolds } from './cache-types.ts'
import type { PlannedRollouts, PlannedSampling, PlannedSettings, PlanRequest } from './memory-plan.ts'

const LARGE = { chunkTokens: 2048, chunkQueries: 256, headRows: 64 } as const
const SMALL = { chunkTokens: 512, chunkQueries: 64, headRows: 16 } as const

/**
 * From the fastest to the smallest. Making Wᵀ again for each row comes before computing activations again: on SmolLM2-135M
 * (Q4_1, rows of 512 tokens) a pass with cached Wᵀ took 12.1 processor seconds of a busy machine, with Wᵀ made layer by layer
 * 10.6 (so it costs less than the noise), with activations computed again 13.8. Boundaries in host memory cross the bus twice, which
 * is little beside a layer's products; small chunks are for the last resort, since each costs launches of its own (not measured).
 */
const TRAINING_CHOICES: readonly PlannedSettings[] = [
  { forward: 'copies', transposes: 'cached', keep: 'all', ...LARGE },
  { forward: 'own', transposes: 'cached', keep: 'all', ...LARGE },
  { forward: 'own', transposes: 'per layer', keep: 'all', ...LARGE },
  { forward: 'own', transposes: 'cached', keep: 'none', ...LARGE },
  { forward: 'own', transposes: 'per layer', keep: 'none', ...LARGE },
  { forward: 'own', transposes: 'per layer', keep: 'none', boundaries: 'host', ...LARGE },
  { forward: 'own', transposes: 'cached', keep: 'none', ...SMALL },
  { forward: 'own', transposes: 'per layer', keep: 'none', ...SMALL },
  { forward: 'own', transposes: 'per layer', keep: 'none', boundaries: 'host', ...SMALL }
]

/** Tokens of a chunk on the CPU: what they need of a layer stays in its caches, which gains up to 6 % where activations are kept (LOG.md). */
const CPU_CHUNK = 512

/**
 * The choices for rows of so many tokens. On a GPU, where each chunk costs launches of its own, layers in chunks are the first
 * thing to do when memory is short; on the CPU they are the fastest.
 */
export function trainingChoices(tokens: number, isCpu: boolean): readonly PlannedSettings[] {
  const inPieces = TRAINING_CHOICES.map(({ chunkTokens, ...others }): PlannedSettings => {
    const most = isCpu ? CPU_CHUNK : chunkTokens!
    return most < tokens ? { ...others, chunkTokens: most } : others
  })
  const { chunkTokens, ...whole } = inPieces[0]!
  return chunkTokens && !isCpu ? [whole, ...inPieces] : inPieces
}

/** Of sampling, from the fastest: half the cache by Q8_0 before half the width, as far as one sequence. */
export function samplingSizes(
  headDim: number,
  { width, cacheType, fixedWidth }: PlannedRollouts
): Pick<PlannedSampling, 'width' | 'cacheType'>[] {
  const types = cacheType ? [cacheType] : (['f16', 'q8_0'] as const).filter((type) => cacheHolds(headDim, type))
  const widths = [width]
  while (!fixedWidth && widths.at(-1)! > 1) widths.push(widths.at(-1)! >> 1)
  return widths.flatMap((some) => types.map((type) => ({ width: some, cacheType: type })))
}

/** Why sampling is so, the dearest first. */
export function whySampling(sampling: PlannedSampling, asked: PlannedRollouts): string[] {
  return [
    sampling.width < asked.width && `${sampling.width} sequences are sampled at once: ${asked.width} would not fit`,
    sampling.cacheType === 'q8_0' &&
      asked.cacheType === undefined &&
      'keys and values are kept in Q8_0: in F16 they would not fit',
    sampling.memory === 'in turn' && 'sampling and training take their memory in turn: both at once would not fit'
  ].filter((it) => it !== false)
}

/** Copies of the tables would hold trained rows as they were. */
export const mayCopy = ({ trained }: Pick<PlanRequest, 'trained'>): boolean =>
  trained.kind === 'full' || !trained.tokenRows

/** Whether the base is loaded packed (packing.ts): its rows are read from the file once then, and not again for each row. */
export const mayPack = (
  { transposes }: Pick<PlannedSettings, 'transposes'>,
  request: Pick<PlanRequest, 'trained'>
): boolean => transposes === 'cached' && request.trained.kind === 'lora' && mayCopy(request)

/** Why these settings, the dearest first; one sentence each. */
export function whyTraining(
  settings: PlannedSettings,
  request: Pick<PlanRequest, 'trained' | 'tokens'>,
  isCpu: boolean
): string[] {
  const { chunkTokens, chunkQueries, keep, boundaries, transposes, forward } = settings
  const words = [
    chunkQueries === SMALL.chunkQueries && 'small chunks of attention and head: larger ones would not fit',
    boundaries === 'host' &&
      'the residual stream between layers waits in host memory: the device has no room for all of it',
    keep === 'none' && 'activations are computed again in the backward: kept ones would not fit',
    transposes === 'per layer' &&
      'transposed weights are made layer by layer, again for each row: all of them at once would not fit',
    forward === 'own' &&
      `the forward multiplies the base’s own weights: faster copies would ${mayCopy(request) ? 'not fit' : 'not know the trained rows'}`,
    chunkTokens !== undefined &&
      !isCpu &&
      `layers are computed ${chunkTokens} tokens at a time: whole rows of ${request.tokens} would not fit`
  ].filter((it) => it !== false)
  return words.length > 0 ? words : ['activations are kept: everything fits']
}
