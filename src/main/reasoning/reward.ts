/**
 * The length-aware, rule-based reward of the Phi-4-reasoning report (paper-facts 1.1 to 1.6): a cosine over the response
 * length for correct and for wrong answers, two format overrides, and a penalty for repeated n-grams of token ids.
 * Left out: the external language model that decides where rules cannot; here an unreadable answer counts as wrong.
 */
import { AppError } from '../../shared/errors.ts'
import type { RewardSettings } from '../../shared/recipe.ts'

/** The report's lengths, in tokens. Everything is scaled from `limit` to the response limit of a run. */
export const REPORT_LENGTHS = { limit: 31744, max: 31744, positiveControl: 25600, negativeControl: 3702 } as const
export const REPORT_NGRAM = { size: 5, threshold: 5 } as const

/** Reward settings with every number decided. Lengths in tokens. */
export type ResolvedReward = {
  readonly lMax: number
  readonly lPosControl: number
  readonly lNegControl: number
  readonly ngram: number
  readonly ngramThreshold: number
  readonly weightAccuracy: number
  readonly weightRepetition: number
  readonly overrideOrder: 'eos_first' | 'think_first'
  readonly repetitionDenominator: 'positions' | 'types'
}

export type Repetition = {
  /** −max(term1, term2), or 0 when no n-gram occurs more often than the threshold. Not clamped: a loop gives about −n. */
  readonly value: number
  readonly positions: number
  readonly types: number
  /** Distinct n-grams that occur more often than the threshold, and the largest count of any. */
  readonly repeatedTypes: number
  readonly maxCount: number
  /** repeatedTypes over positions (or types), and maxCount over length / n. Zero where the term does not apply. */
  readonly term1: number
  readonly term2: number
}

export type Override = 'incomplete' | 'bad thought'

export type ScoredReward = {
  /** Response length in tokens, the end-of-turn token included. */
  readonly length: number
  readonly accuracyRaw: 0 | 1
  /** The share of the way along the cosine, 0 to 1: what `accuracyByLength` was computed from. */
  readonly rho: number
  readonly accuracyByLength: number
  readonly override: Override | null
  /** `accuracyByLength`, or what the override replaced it with. */
  readonly accuracyScaled: number
  readonly repetition: Repetition
  readonly weightedAccuracy: number
  readonly weightedRepetition: number
  readonly reward: number
}

/**
 * Decides every number: lengths given in the settings stay, the others are the report's times
 * `maxCompletionLength / 31744`, rounded, at least 1. Throws AppError `recipe` where the cosine would have no room.
 */
export function resolveReward(settings: RewardSettings, maxCompletionLength: number): ResolvedReward {
  const scaled = (tokens: number): number =>
    Math.max(1, Math.round((tokens * maxCompletionLength) / REPORT_LENGTHS.limit))
  const lMax = settings.l_max ?? scaled(REPORT_LENGTHS.max)
  const lPosControl = settings.l_pos_control ?? scaled(REPORT_LENGTHS.positiveControl)
  if (lPosControl >= lMax) {
    throw new AppError(
      'recipe',
      `reward: l_pos_control ${lPosControl} is not below l_max ${lMax}`,
      'lower l_pos_control, or raise l_max or max_completion_length'
    )
  }
  return {
    lMax,
    lPosControl,
    lNegControl: settings.l_neg_control ?? scaled(REPORT_LENGTHS.negativeControl),
    ngram: settings.ngram ?? REPORT_NGRAM.size,
    ngramThreshold: settings.ngram_threshold ?? REPORT_NGRAM.threshold,
    weightAccuracy: settings.weight_accuracy,
    weightRepetition: settings.weight_repetition,
    overrideOrder: settings.override_order,
    repetitionDenominator: settings.repetition_denominator
  }
}

/** Half a cosine from `from` at rho 0 to `to` at rho 1. */
const cosine = (from: number, to: number, rho: number): number => to + 0.5 * (from - to) * (1 + Math.cos(Math.PI * rho))

/** The accuracy term before overrides: 1.0 down to 0.5 for correct answers, −1.0 up to −0.5 for wrong ones. */
export function accuracyByLength(
  correct: boolean,
  length: number,
  { lMax, lPosControl, lNegControl }: Pick<ResolvedReward, 'lMax' | 'lPosControl' | 'lNegControl'>
): { rho: number; value: number } {
  if (correct) {
    const rho = Math.min(1, Math.max(length - lPosControl, 0) / (lMax - lPosControl))
    return { rho, value: cosine(1, 0.5, rho) }
  }
  const rho = Math.min(1, length / lNegControl)
  return { rho, value: cosine(-1, -0.5, rho) }
}

/** The repetition term over token ids (paper-facts 1.4). */
export function repetitionOf(
  tokens: ArrayLike<number>,
  settings: Pick<ResolvedReward, 'ngram' | 'ngramThreshold' | 'repetitionDenominator'>
): Repetition {
  const positions = Math.max(0, tokens.length - settings.ngram + 1)
  const counts = new Map<string, number>()
  const window: number[] = []
  for (let i = 0; i < tokens.length; i++) {
    window.push(tokens[i]!)
    if (window.length > settings.ngram) window.shift()
    if (window.length < settings.ngram) continue
    const key = window.join(',')
    counts.set(key, (counts.get(key) ?? 0) + 1)
  }
  let [repeatedTypes, maxCount] = [0, 0]
  for (const count of counts.values()) {
    if (count > settings.ngramThreshold) repeatedTypes++
    maxCount = Math.max(maxCount, count)
  }
  const found = { positions, types: counts.size, repeatedTypes, maxCount }
  if (repeatedTypes === 0) return { value: 0, ...found, term1: 0, term2: 0 }
  const term1 = repeatedTypes / (settings.repetitionDenominator === 'positions' ? positions : counts.size)
  const term2 = maxCount / (tokens.length / settings.ngram)
  return { value: -Math.max(term1, term2), ...found, term1, term2 }
}

/** Which override applies. Both hold when a response is cut off inside its thought; the order is a setting. */
const overrideOf = (
  complete: boolean,
  wellFormed: boolean,
  order: ResolvedReward['overrideOrder']
): Override | null => {
  const failed: Override[] = [
    ...(complete ? [] : ['incomplete' as const]),
    ...(wellFormed ? [] : ['bad thought' as const])
  ]
  return (order === 'eos_first' ? failed[0] : failed.at(-1)) ?? null
}
const OVERRIDE_VALUES: Readonly<Record<Override, number>> = { incomplete: -0.5, 'bad thought': -1 }

/**
 * The reward of one response, with every part it was made of.
 * `complete`: it ended with an end-of-turn token. `wellFormed`: its thought parsed. `tokens`: all sampled ids.
 */
export function scoreReward(
  response: {
    readonly tokens: ArrayLike<number>
    readonly correct: boolean
    readonly complete: boolean
    readonly wellFormed: boolean
  },
  settings: ResolvedReward
): ScoredReward {
  const length = response.tokens.length
  const { rho, value } = accuracyByLength(response.correct, length, settings)
  const override = overrideOf(response.complete, response.wellFormed, settings.overrideOrder)
  const accuracyScaled = override === null ? value : OVERRIDE_VALUES[override]
  const repetition = repetitionOf(response.tokens, settings)
  const weightedAccuracy = settings.weightAccuracy * accuracyScaled
  const weightedRepetition = settings.weightRepetition * repetition.value
  return {
    length,
    accuracyRaw: response.correct ? 1 : 0,
    rho,
    accuracyByLength: value,
    override,
    accuracyScaled,
    repetition,
    weightedAccuracy,
    weightedRepetition,
    reward: weightedAccuracy + weightedRepetition
  }
}
