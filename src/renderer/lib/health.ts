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
type Rule = (get: Get, recent: (metric: string) => number | undefined) => Warning | null

const RULES: readonly Rule[] = [
  (_, recent) => {
    const zero = recent('frac_reward_zero_std')
    if (zero === undefined || zero <= 0.8) return null
    return {
      chart: 'zero-variance',
      level: 'note',
      text: `In ${percent(zero, 0)} of the groups all answers got the same reward, so those groups teach nothing. The tasks are too easy or too hard for this policy: change their difficulty, or sample more answers per task.`
    }
  },
  (_, recent) => {
    const entropy = recent('entropy')
    if (entropy === undefined || entropy >= 0.05) return null
    return entropy < 0.01
      ? { chart: 'entropy', level: 'alarm', text: `Entropy is ${number(entropy, 2)}: the policy has collapsed and says the same every time. Go back to an earlier checkpoint; lower the learning rate or raise entropy_coef.` } // prettier-ignore
      : { chart: 'entropy', level: 'note', text: `Entropy is ${number(entropy, 2)}, under the healthy 0.05: answers of a group become alike, and soon nothing can be learnt from them.` } // prettier-ignore
  },
  (_, recent) => {
    const kl = recent('kl')
    if (kl === undefined || kl <= 0.5) return null
    return {
      chart: 'kl',
      level: kl > 2 ? 'alarm' : 'note',
      text: `The policy is ${number(kl, 2)} nats away from its reference (healthy: up to 0.5). ${kl > 2 ? 'It is running away: stop, lower the learning rate or raise beta.' : 'Watch that accuracy on the held-out tasks keeps up.'}`
    }
  },
  (_, recent) => {
    const clipped = recent('completions/clipped_ratio')
    if (clipped === undefined || clipped <= 0.3) return null
    return {
      chart: 'clipped',
      level: clipped > 0.8 ? 'alarm' : 'note',
      text: `${percent(clipped, 0)} of the responses are cut off at the limit and count as wrong whatever they were about to say. Raise max_completion_length, or teach shorter thoughts first.`
    }
  },
  (_, recent) => {
    const norm = recent('grad_norm')
    const zero = recent('frac_reward_zero_std') ?? 0
    if (norm === undefined || zero > 0.8 || (norm >= 1e-3 && norm <= 10)) return null
    return norm < 1e-3
      ? { chart: 'grad-norm', level: 'note', text: `The gradient norm is ${number(norm, 2)}: the weights hardly move. The learning rate may be too low, or every answer earns the same.` } // prettier-ignore
      : { chart: 'grad-norm', level: 'alarm', text: `The gradient norm is ${number(norm, 2)} and is cut to max_grad_norm in every step. Lower the learning rate.` } // prettier-ignore
  },
  (_, recent) => {
    const difference = recent('sampling/sampling_logp_difference/mean')
    if (difference === undefined || difference <= 0.05) return null
    return {
      chart: 'logprob-difference',
      level: 'note',
      text: `Decoder and trainer differ by ${number(difference, 2)} nats per token: what is trained is not quite what was sampled. A less quantised base, or sampling_correction: truncate, helps.`
    }
  },
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

/** What is unusual about a run now; empty is the usual case. */
export function warningsOf(get: Get): Warning[] {
  const recent = (metric: string): number | undefined => {
    const points = get(metric)
    return points === undefined || points.value.length < WINDOW ? undefined : mean(points.value.slice(-WINDOW))
  }
  return RULES.flatMap((rule) => rule(get, recent) ?? [])
}
