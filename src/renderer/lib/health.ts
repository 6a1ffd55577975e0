/**
 * Warnings from healthy ranges, in words: what is unusual, what it usually means, what to try. The ranges are Axolotl's
 * for GRPO with LoRA and our recipes' own stop rules; each names its numbers.
 */
import { number, percent } from './format.ts'
import type { Points } from './series.ts'

export type Warning = {
  /** The chart it is about. */
  readonly chart: string
  readonly level: 'note' | 'alarm'
  readonly text: string
}

/** One step is noise; the mean of the last five is a trend. Ours. */
const WINDOW = 5
/** Reward is given this many steps to move (Axolotl). */
const PATIENCE = 20

const mean = (values: readonly number[]): number => values.reduce((sum, v) => sum + v, 0) / values.length

type Get = (metric: string) => Points | undefined

/** Where a metric is healthy. */
export type Range = {
  readonly chart: string
  readonly metric: string
  readonly low?: number
  readonly high?: number
  /** Further out than a note is for. */
  readonly isAlarm?: (value: number) => boolean
  /** False where it is usual for a while: its chart says so, the run does not. Default: true. */
  readonly isTrouble?: (value: number) => boolean
  /** A value outside, in words. */
  readonly words: (value: number) => string
  /** False where the range says nothing of this run, or of this moment. */
  readonly holds?: (get: Get) => boolean
}

const sampled = (get: Get): boolean => get('reward') !== undefined

const RANGES: readonly Range[] = [
  {
    chart: 'zero-variance',
    metric: 'frac_reward_zero_std',
    high: 0.8,
    words: (share) =>
      `In ${percent(share, 0)} of the groups all answers got the same reward, so those groups teach nothing. The tasks are too easy or too hard for this policy: change their difficulty, or sample more answers per task.`
  },
  {
    chart: 'entropy',
    metric: 'entropy',
    low: 0.05,
    high: 0.5,
    isAlarm: (entropy) => entropy < 0.01,
    isTrouble: (entropy) => entropy < 0.05,
    words: (entropy) =>
      entropy > 0.5
        ? `Entropy is ${number(entropy, 2)}, over the healthy 0.5: the policy is undecided about many tokens. Usual at the start; where it grows, lower entropy_coef or the temperature.`
        : entropy < 0.01
          ? `Entropy is ${number(entropy, 2)}: the policy has collapsed and says the same every time. Go back to an earlier checkpoint; lower the learning rate or raise entropy_coef.`
          : `Entropy is ${number(entropy, 2)}, under the healthy 0.05: answers of a group become alike, and soon nothing can be learnt from them.`,
    holds: sampled
  },
  {
    chart: 'kl',
    metric: 'kl',
    high: 0.5,
    isAlarm: (kl) => kl > 2,
    words: (kl) =>
      `The policy is ${number(kl, 2)} nats away from its reference (healthy: up to 0.5). ${kl > 2 ? 'It is running away: stop, lower the learning rate or raise beta.' : 'Watch that accuracy on the held-out tasks keeps up.'}`
  },
  {
    chart: 'clipped',
    metric: 'completions/clipped_ratio',
    high: 0.3,
    isAlarm: (clipped) => clipped > 0.8,
    words: (clipped) =>
      `${percent(clipped, 0)} of the responses are cut off at the limit and count as wrong whatever they were about to say. Raise max_completion_length, or teach shorter thoughts first.`
  },
  {
    chart: 'grad-norm',
    metric: 'grad_norm',
    low: 1e-3,
    high: 1,
    isAlarm: (norm) => norm > 10,
    isTrouble: (norm) => norm < 1e-3 || norm > 10,
    words: (norm) =>
      norm < 1e-3
        ? `The gradient norm is ${number(norm, 2)}: the weights hardly move. The learning rate may be too low, or every answer earns the same.`
        : `The gradient norm is ${number(norm, 2)} (healthy: up to 1) and is cut to max_grad_norm.${norm > 10 ? ' Lower the learning rate.' : ' Usual in the first steps; where it stays there, lower the learning rate.'}`,
    // Where all groups are alike it is zero for a reason that is told already.
    holds: (get) => (meanOfLast(get('frac_reward_zero_std')) ?? 0) <= 0.8
  },
  {
    chart: 'logprob-difference',
    metric: 'sampling/sampling_logp_difference/mean',
    high: 0.05,
    words: (difference) =>
      `Decoder and trainer differ by ${number(difference, 2)} nats per token: what is trained is not quite what was sampled. A less quantised base, or sampling_correction: truncate, helps.`
  },
  {
    chart: 'clip-ratio',
    metric: 'clip_ratio/region_mean',
    high: 0.1,
    words: (share) =>
      `${percent(share, 0)} of the tokens left the clip range and taught nothing (healthy: up to 10 %). Lower the learning rate or num_iterations.`
  }
]

type Rule = (get: Get) => Warning | null

/** What no range can say: how a curve goes. */
const TRENDS: readonly Rule[] = [
  (get) => {
    const reward = get('reward')
    if (reward === undefined || reward.value.length < PATIENCE + WINDOW) return null
    const [first, last] = [mean(reward.value.slice(0, WINDOW)), mean(reward.value.slice(-WINDOW))]
    if (last - first > 0.02) return null
    return {
      chart: 'reward',
      level: 'note',
      text: `Reward went from ${number(first, 3)} to ${number(last, 3)} over ${reward.value.length} steps: it does not rise. Read a few groups in the group explorer before you wait longer.`
    }
  },
  (get) => {
    const held = get('eval/loss')
    if (held === undefined || held.value.length < 3) return null
    const [least, last] = [Math.min(...held.value), held.value.at(-1)!]
    if (last <= least * 1.05) return null
    return {
      chart: 'loss',
      level: 'note',
      text: `Held-out loss has risen from ${number(least, 3)} to ${number(last, 3)}: the traces are being memorised. An earlier checkpoint is probably better.`
    }
  },
  (get) => {
    const skipped = get('skipped_steps')?.value.at(-1) ?? 0
    if (skipped === 0) return null
    return { chart: 'grad-norm', level: 'note', text: `${skipped} updates were skipped because their gradient was not finite.` } // prettier-ignore
  }
]

const meanOfLast = (points: Points | undefined): number | undefined =>
  points === undefined || points.value.length < WINDOW ? undefined : mean(points.value.slice(-WINDOW))

function judged(
  { chart, low = -Infinity, high = Infinity, isAlarm, words }: Range,
  value: number | undefined
): Warning[] {
  if (value === undefined || (value >= low && value <= high)) return []
  return [{ chart, level: isAlarm?.(value) === true ? 'alarm' : 'note', text: words(value) }]
}

/** The range that a chart of this run draws. */
export const rangeOf = (chart: string, get: Get): Range | undefined =>
  RANGES.find((range) => range.chart === chart && (range.holds?.(get) ?? true))

/** What is unusual about a run now; empty is the usual case. */
export const warningsOf = (get: Get): Warning[] => [
  ...RANGES.flatMap((range) => {
    const recent = meanOfLast(get(range.metric))
    const trouble = recent !== undefined && range.holds?.(get) !== false && range.isTrouble?.(recent) !== false
    return trouble ? judged(range, recent) : []
  }),
  ...TRENDS.flatMap((rule) => rule(get) ?? [])
]

/** What a chart says: the warnings about it, else that its latest value is out of range. */
export function warningsAt(chart: string, get: Get): Warning[] {
  const known = warningsOf(get).filter((warning) => warning.chart === chart)
  const range = rangeOf(chart, get)
  return known.length > 0 || range === undefined ? known : judged(range, get(range.metric)?.value.at(-1))
}
