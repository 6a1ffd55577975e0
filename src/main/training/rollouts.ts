/** Groups: sampling them, scoring every rollout with the report's reward, and what a step reports of them. */
import type { Metrics, SampleRow } from '../../shared/event.ts'
import type { GrpoRecipe } from '../../shared/recipe.ts'
import type { Rollout } from '../../shared/task.ts'
import type { Adapter } from '../engine/adapter.ts'
import type { Sampler } from '../engine/sampler.ts'
import type { Dialogue } from '../policy/dialogue.ts'
import { grade } from '../policy/grading.ts'
import type { Graded } from '../policy/grading.ts'
import type { Prompted } from '../policy/tasksets.ts'
import { groupAdvantages } from '../reasoning/advantage.ts'
import type { Symbolic } from '../reasoning/equality.ts'
import { scoreReward } from '../reasoning/reward.ts'
import type { ResolvedReward, ScoredReward } from '../reasoning/reward.ts'

export type Scored = Graded & { readonly score: ScoredReward; readonly advantage: number }

/** The G rollouts of one task. `flat`: equal rewards, so that every advantage is zero. */
export type Group = Prompted & {
  readonly scored: readonly Scored[]
  readonly reward: { readonly mean: number; readonly std: number }
  readonly flat: boolean
}

export type Sampled = {
  readonly groups: readonly Group[]
  readonly tokens: number
  readonly seconds: { prefill: number; decode: number; sample: number; score: number }
}

/** What sampling and scoring need that stays the same over a run. */
export type Means = {
  readonly sampler: Pick<Sampler, 'generate'>
  /** Null where the model itself is the policy. */
  readonly adapter: Adapter | null
  readonly dialogue: Dialogue
  readonly symbolic: Symbolic
  readonly recipe: GrpoRecipe
  readonly reward: ResolvedReward
  readonly signal: AbortSignal
}

type OnProgress = (done: number, of: number) => void

/**
 * Samples and scores one group per task; `seed` and the task's place name every sequence's random stream.
 *
 * No group is cut short: every rollout of a kept group is trained on, and enters its mean and deviation. Whether a group is
 * flat, and so left out by dynamic sampling, is known with its last rollout only, since the reward goes with length; nor are
 * more groups begun than the step still lacks. Where a decision needs fewer answers than were planned, they are not
 * sampled: see `passCounts` of curation.ts.
 */
export async function sampleGroups(
  means: Means,
  tasks: readonly Prompted[],
  seed: string,
  onProgress: OnProgress
): Promise<Sampled> {
  const { sampler, adapter, recipe, signal } = means
  const requests = tasks.map(({ prompt }, i) => ({
    prompt,
    seeds: Array.from({ length: recipe.num_generations }, (_, member) => `${seed}/${i}/${member}`)
  }))
  const generation = await sampler.generate(requests, {
    sampling: recipe.sampling,
    maxTokens: recipe.max_completion_length,
    adapter,
    signal,
    onProgress
  })
  const started = performance.now()
  const groups: Group[] = []
  for (const [i, prompted] of tasks.entries()) groups.push(await scoredGroup(means, prompted, generation.groups[i]!))
  return {
    groups,
    tokens: generation.tokens,
    seconds: { ...generation.seconds, score: (performance.now() - started) / 1000 }
  }
}

async function scoredGroup(
  { dialogue, symbolic, recipe, reward }: Means,
  prompted: Prompted,
  rollouts: readonly Rollout[]
): Promise<Group> {
  const graded = []
  for (const rollout of rollouts) {
    const it = await grade(prompted.task, rollout, dialogue, { symbolic })
    const score = scoreReward(
      {
        tokens: rollout.tokens,
        correct: it.verdict.kind === 'correct',
        complete: rollout.stop === 'eos',
        wellFormed: it.trace.kind === 'well-formed'
      },
      reward
    )
    graded.push({ ...it, score })
  }
  const settings = { scale: recipe.scale_rewards, std: recipe.std, epsilon: recipe.std_epsilon }
  const { advantages, mean, std, flat } = groupAdvantages(
    graded.map(({ score }) => score.reward),
    settings
  )
  const scored = graded.map((it, member) => ({ ...it, advantage: advantages[member]! }))
  return { ...prompted, scored, reward: { mean, std }, flat }
}

const mean = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0) / values.length
/** Of a sample (over n − 1), as TRL's nanstd. */
const deviation = (values: readonly number[]): number =>
  Math.sqrt(values.reduce((sum, value) => sum + (value - mean(values)) ** 2, 0) / (values.length - 1))

/**
 * Every rollout sampled in a step, flat groups included: names as in TRL's grpo_trainer, ours where it has none. As there,
 * `rewards/*` are the components' own scores; their weights are in `reward` alone.
 */
export function groupMetrics(groups: readonly Group[]): Metrics {
  const all = groups.flatMap(({ scored }) => scored)
  const lengths = (which: readonly Scored[]): number[] => which.map(({ rollout }) => rollout.tokens.length)
  const ended = all.filter(({ rollout }) => rollout.stop === 'eos')
  const spread = (name: string, values: readonly number[]): Record<string, number> =>
    values.length === 0
      ? {}
      : {
          [`${name}mean_length`]: mean(values),
          [`${name}min_length`]: Math.min(...values),
          [`${name}max_length`]: Math.max(...values)
        }
  const byVerdict = Object.fromEntries(
    (['correct', 'wrong', 'unreadable'] as const).flatMap((kind) => {
      const values = lengths(all.filter(({ verdict }) => verdict.kind === kind))
      return values.length === 0 ? [] : [[`completions/mean_length/${kind}`, mean(values)]]
    })
  )
  const component = (name: string, values: readonly number[]): Record<string, number> => ({
    [`rewards/${name}/mean`]: mean(values),
    [`rewards/${name}/std`]: deviation(values)
  })
  const terminated = Object.fromEntries(
    Object.entries(spread('', lengths(ended))).map(([key, value]) => [
      `completions/${key.replace('_length', '_terminated_length')}`,
      value
    ])
  )
  return {
    reward: mean(all.map(({ score }) => score.reward)),
    reward_std: mean(groups.map(({ reward }) => reward.std)),
    frac_reward_zero_std: groups.filter(({ flat }) => flat).length / groups.length,
    accuracy: all.filter(({ verdict }) => verdict.kind === 'correct').length / all.length,
    well_formed: all.filter(({ trace }) => trace.kind === 'well-formed').length / all.length,
    ...component('accuracy', all.map(({ score }) => score.accuracyScaled)), // prettier-ignore
    ...component('repetition', all.map(({ score }) => score.repetition.value)), // prettier-ignore
    ...spread('completions/', lengths(all)),
    ...terminated,
    ...byVerdict,
    'completions/clipped_ratio': 1 - ended.length / all.length
  }
}

/** Characters of responses that one step records: dozens of ordinary groups, a few of very long thoughts. Ours. */
const TEXT_PER_STEP = 300_000
/** Longest rollout that is recorded token by token: at about 15 bytes a token a group of eight stays under 64 KB. Ours. */
const TOKENWISE = 512

/**
 * The groups of a step as rows a person reads, in the order given, as many as fit TEXT_PER_STEP and at least the first.
 * Rollouts of the first group carry their tokens and logprobs.
 */
export function recordedGroups(groups: readonly Group[], means: Pick<Means, 'dialogue' | 'reward'>): SampleRow[][] {
  const recorded: SampleRow[][] = []
  let characters = 0
  for (const [i, group] of groups.entries()) {
    const rows = sampleRows(group, means, i === 0)
    characters += rows.reduce((sum, { text }) => sum + text.length, 0)
    if (i > 0 && characters > TEXT_PER_STEP) break
    recorded.push(rows)
  }
  return recorded
}

function sampleRows(
  group: Group,
  { dialogue, reward }: Pick<Means, 'dialogue' | 'reward'>,
  tokenwise: boolean
): SampleRow[] {
  const weights = { accuracy: reward.weightAccuracy, repetition: reward.weightRepetition }
  return group.scored.map(({ rollout, trace, verdict, score, advantage }) => ({
    taskId: group.task.id,
    prompt: group.task.prompt,
    thinking: trace.kind === 'well-formed' ? trace.thinking : null,
    answer: trace.kind === 'well-formed' ? trace.answer : null,
    text: dialogue.vocabulary.decode(rollout.tokens),
    verdict: verdict.kind === 'unreadable' ? `unreadable (${verdict.why})` : verdict.kind,
    stop: rollout.stop,
    length: rollout.tokens.length,
    rewards: { accuracy: score.accuracyScaled, repetition: score.repetition.value },
    weights,
    reward: score.reward,
    advantage,
    ...(tokenwise && rollout.tokens.length <= TOKENWISE ? tokenTexts(rollout, dialogue) : {})
  }))
}

/** A character split over tokens stands with its last one. */
function tokenTexts(
  { tokens, temperatureOneLogprobs }: Rollout,
  { vocabulary }: Dialogue
): Pick<SampleRow, 'tokens' | 'logprobs'> {
  const decoder = new TextDecoder()
  return {
    tokens: Array.from(tokens, (token) => decoder.decode(vocabulary.piece(token), { stream: true })),
    logprobs: Array.from(temperatureOneLogprobs, (logprob) => Math.round(logprob * 1000) / 1000)
  }
}
