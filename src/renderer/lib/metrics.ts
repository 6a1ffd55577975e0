/**
 * What a run measures, as charts: which metrics belong together, what they are called, how they read. Names on the left
 * are those of the record (TRL's; evaluations under `eval/`).
 */
import { duration, number, percent, withUnit } from './format.ts'

export type ChartSpec = {
  readonly id: string
  readonly title: string
  /** One sentence: what it is and what a healthy run shows. */
  readonly about: string
  readonly unit: string
  readonly format: (value: number) => string
  /** Whether a metric belongs to this chart, and under which name it is drawn; null: no. */
  readonly label: (metric: string) => string | null
  readonly log?: boolean
}

const named =
  (names: Readonly<Record<string, string>>) =>
  (metric: string): string | null =>
    names[metric] ?? null
const matching =
  (pattern: RegExp, names: Readonly<Record<string, string>> = {}) =>
  (metric: string): string | null => {
    const part = pattern.exec(metric)?.[1]
    return part === undefined ? null : (names[part] ?? part.replaceAll('_', ' '))
  }

const plain = (value: number): string => number(value, 4)
const share = (value: number): string => percent(value)
const seconds = (value: number): string => duration(value * 1000)
const rate = (value: number): string => withUnit(number(value, 3), 'tok/s')
const tokens = (value: number): string => withUnit(number(value, 3), 'tok')

export const CHARTS: readonly ChartSpec[] = [
  {
    id: 'loss',
    title: 'Loss',
    about:
      'In SFT the negative log-likelihood of the trained tokens: it falls quickly, then slowly; held-out loss that rises while it falls means the traces are being memorised. In GRPO what an update minimises, policy loss with KL and entropy: near zero is normal, and it is not comparable with that of SFT.',
    unit: 'nats per token',
    format: plain,
    label: named({ loss: 'training', 'eval/loss': 'held out' })
  },
  {
    id: 'reward',
    title: 'Reward',
    about:
      'Mean reward of the rollouts. Should rise by about 0.15 within twenty steps; flat from the start means that the tasks are too hard or too easy.',
    unit: '',
    format: plain,
    label: named({ reward: 'mean', reward_std: 'deviation in a group' })
  },
  {
    id: 'reward-parts',
    title: 'Reward, its parts',
    about: 'Each component before its weight. A sum that stands still can hide parts that move against each other.',
    unit: '',
    format: plain,
    label: matching(/^rewards\/(.+)\/mean$/)
  },
  {
    id: 'accuracy',
    title: 'Accuracy',
    about: 'Share of correct answers among the rollouts, and on the held-out tasks.',
    unit: '',
    format: share,
    label: named({
      accuracy: 'rollouts',
      'eval/accuracy': 'held out',
      well_formed: 'well-formed',
      mean_token_accuracy: 'next token right'
    })
  },
  {
    id: 'length',
    title: 'Response length by verdict',
    about:
      'Mean tokens of a response. Correct ones that grow while wrong ones shrink is what the reward asks for; all of them at the limit is not.',
    unit: 'tokens',
    format: tokens,
    label: named({
      'completions/mean_length': 'all',
      'completions/mean_length/correct': 'correct',
      'completions/mean_length/wrong': 'wrong',
      'completions/mean_length/unreadable': 'unreadable',
      'eval/completions/mean_length': 'held out'
    })
  },
  {
    id: 'entropy',
    title: 'Entropy',
    about: 'How undecided the policy is per token. Under 0.01 it has collapsed.',
    unit: 'nats',
    format: plain,
    label: named({ entropy: 'per token' })
  },
  {
    id: 'kl',
    title: 'KL divergence',
    about: 'How far the policy has moved from its reference. Over 2 is an alarm.',
    unit: 'nats',
    format: plain,
    label: named({ kl: 'per token' })
  },
  {
    id: 'clipped',
    title: 'Cut off at the limit',
    about:
      'Share of responses that reached max_completion_length. Where it is high the limit is too short or the policy rambles.',
    unit: '',
    format: share,
    label: named({ 'completions/clipped_ratio': 'rollouts', 'eval/completions/clipped_ratio': 'held out' })
  },
  {
    id: 'zero-variance',
    title: 'Groups without variance',
    about: 'Share of groups whose answers all got the same reward: nothing is learnt from them.',
    unit: '',
    format: share,
    label: named({ frac_reward_zero_std: 'of all groups' })
  },
  {
    id: 'grad-norm',
    title: 'Gradient norm',
    about: 'Before clipping. 0 in a step that trained nothing.',
    unit: '',
    format: plain,
    label: named({ grad_norm: 'all adapters' })
  },
  {
    id: 'learning-rate',
    title: 'Learning rate',
    about: 'What the schedule gave this step.',
    unit: '',
    format: plain,
    label: named({ learning_rate: 'rate' })
  },
  {
    id: 'policy-loss',
    title: 'Policy loss',
    about: 'Near zero is normal while the policy that sampled is the one that is trained; its gradient is what counts.',
    unit: '',
    format: plain,
    label: named({ policy_loss: 'mean' })
  },
  {
    id: 'logprob-difference',
    title: '|Δ logprob| sampler and trainer',
    about: 'How far the decoder and the trainer disagree per token. Where the mean is high the update is off-policy.',
    unit: 'nats',
    format: plain,
    label: matching(/^sampling\/sampling_logp_difference\/(mean|max)$/)
  },
  {
    id: 'clip-ratio',
    title: 'Clipped by the trust region',
    about: 'Share of tokens whose ratio left the clip range.',
    unit: '',
    format: share,
    label: matching(/^clip_ratio\/(region_mean|low_mean|high_mean)$/, {
      region_mean: 'either side',
      low_mean: 'below',
      high_mean: 'above'
    })
  },
  {
    id: 'speed',
    title: 'Speed',
    about: 'Tokens per second while sampling and while training.',
    unit: 'tokens/s',
    format: rate,
    label: matching(/^tokens_per_second\/(.+)$/, { rollout: 'sampling', train: 'training' })
  },
  {
    id: 'time',
    title: 'Time per phase of a step',
    about: 'Where a step spends its time. Sampling usually takes most of it.',
    unit: 's',
    format: seconds,
    label: matching(/^timing_s\/(.+)$/, { rollout: 'sampling, whole', train: 'training', score: 'grading' })
  },
  {
    id: 'memory',
    title: 'Memory',
    about:
      'What the worker holds in the computer’s memory, and what is in use on a device with memory of its own. Planned is the peak of model and training where the run computes: on the CPU the worker’s own two hundred MiB or so come on top.',
    unit: 'MiB',
    format: (value) => withUnit(number(value, 4), 'MiB'),
    label: matching(/^memory_mib\/(.+)$/, { resident: 'worker', planned: 'planned peak' })
  }
]

/** Colours that mean something are fixed; the rest come from the palette in order. */
const MEANT: Readonly<Record<string, string>> = { correct: 'correct', wrong: 'wrong', unreadable: 'unreadable' }
export const lineColour = (label: string, place: number): number | string => MEANT[label] ?? place

/** The charts that have something to show, each with its metrics in a fixed order. */
export function chartsFor(
  metrics: readonly string[]
): { spec: ChartSpec; lines: { metric: string; label: string; colour: number | string }[] }[] {
  // What is trained on first, what is held out last: the same colours in every run.
  const ordered = [...metrics].sort((a, b) => Number(a.startsWith('eval/')) - Number(b.startsWith('eval/')))
  return CHARTS.flatMap((spec) => {
    const lines = ordered.flatMap((metric) => {
      const label = spec.label(metric)
      return label === null ? [] : [{ metric, label }]
    })
    return lines.length === 0
      ? []
      : [{ spec, lines: lines.map((line, i) => ({ ...line, colour: lineColour(line.label, i) })) }]
  })
}

/** Headline metrics in the order a list shows them. */
const HEADLINES: readonly (readonly [metric: string, label: string, format: (value: number) => string])[] = [
  ['eval/accuracy', 'held-out accuracy', share],
  ['accuracy', 'rollouts right', share],
  ['reward', 'reward', plain],
  ['loss', 'loss', plain],
  ['completions/mean_length', 'length', tokens],
  ['tokens_per_second/train', 'training', rate]
]

/**
 * What an evaluation says for itself: the accuracy of the policy measured last, which is the one trained most, on the first
 * taskset. Evaluations report as `POLICY/TASKSET/accuracy`, policy by policy.
 */
function evaluationWords(headline: Readonly<Record<string, number>>): string[] {
  const scores = Object.entries(headline).flatMap(([metric, value]) => {
    const named = /^eval\/([^/]+)\/(.+)\/accuracy$/.exec(metric)
    return named === null ? [] : [{ policy: named[1]!, taskset: named[2]!, value }]
  })
  const last = scores.at(-1)?.policy
  const score = scores.find(({ policy }) => policy === last)
  return score === undefined ? [] : [`${score.policy} on ${score.taskset} ${share(score.value)}`]
}

/** The one or two numbers that say most about a run, as text. */
export const headlineWords = (headline: Readonly<Record<string, number>>, most = 2): string =>
  [
    ...evaluationWords(headline),
    ...HEADLINES.flatMap(([metric, label, format]) => {
      const value = headline[metric]
      return value === undefined ? [] : [`${label} ${format(value)}`]
    })
  ]
    .slice(0, most)
    .join(' · ')
