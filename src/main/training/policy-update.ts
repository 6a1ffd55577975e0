/** The training half of a GRPO step: groups to packed rows, losses, optimizer steps. */
import { setImmediate as nextTurn } from 'node:timers/promises'
import { AppError } from '../../shared/errors.ts'
import type { Random } from '../../shared/random.ts'
import type { GrpoRecipe } from '../../shared/recipe.ts'
import { pack } from '../engine/batch.ts'
import type { PackedBatch, TrainSequence } from '../engine/batch.ts'
import type { AdamW } from '../engine/optimizer.ts'
import type { Trainer } from '../engine/trainer.ts'
import type { Coefficients, TokenArrays } from './loss.ts'
import { mergeMetrics, totalsAsMeans } from './metric-sums.ts'
import type { MetricSums } from './metric-sums.ts'
import { policyLoss, samplingDifference } from './policy-loss.ts'
import type { Normaliser, PolicyLossSettings } from './policy-loss.ts'
import type { Group } from './rollouts.ts'

/** A rollout as the trainer sees it: prompt and completion, the completion trained. */
type Trajectory = TrainSequence & {
  readonly advantage: number
  readonly decodeLogprobs: Float32Array
  readonly completionTokens: number
}

/** A packed row with the per-token constants of its loss. */
type Row = { readonly batch: PackedBatch; readonly constants: Constants }
type Constants = Omit<TokenArrays, 'logprobs' | 'entropy'>

export type PolicyUpdate = {
  readonly metrics: MetricSums
  readonly gradNorm: number
  /** Trained on: prompt and completion of every rollout, though a group's prompt is computed once. */
  readonly tokens: number
  /** Optimizer steps of these groups: fewer than asked for where there are fewer rollouts than minibatches. */
  readonly updates: number
  /** Updates left out because a gradient was not finite. */
  readonly skipped: number
  /** Of the time, what it took until the sampler had the new adapter. */
  readonly syncSeconds: number
}

type Rates = { readonly a: number; readonly b: number; readonly weight: number }

/**
 * num_iterations passes of `minibatches` optimizer steps each over the groups' rollouts. Losses are means over the updates.
 * Throws AppError('cancelled') between rows while no optimizer step was made yet: after one, the step is finished.
 */
export async function policyUpdate(
  trainer: Trainer,
  optimizer: AdamW,
  groups: readonly Group[],
  recipe: GrpoRecipe,
  rowTokens: number,
  rates: Rates,
  random: Random,
  signal?: AbortSignal
): Promise<PolicyUpdate> {
  const trajectories = groups.flatMap(trajectoriesOf)
  if (trajectories.length === 0) return { metrics: {}, gradNorm: 0, tokens: 0, updates: 0, skipped: 0, syncSeconds: 0 }
  const settings = lossSettings(recipe)
  const minibatches = Math.min(recipe.minibatches, trajectories.length)
  const updates = recipe.num_iterations * minibatches
  const allTokens = trajectories.reduce((sum, { completionTokens }) => sum + completionTokens, 0)
  const batches = split(updates > 1 ? random.shuffle(trajectories) : trajectories, minibatches).map((members) => {
    const rows = pack(members, rowTokens).map((batch): Row => ({ batch, constants: constantsOf(batch, members) }))
    const tokens = members.reduce((sum, { completionTokens }) => sum + completionTokens, 0)
    const normaliser: Normaliser = {
      sequences: members.length,
      tokens,
      meanTokens: allTokens / minibatches,
      maxCompletionLength: recipe.max_completion_length
    }
    return { rows, normaliser, tokens: members.reduce((sum, member) => sum + member.tokens.length, 0) }
  })
  // Log-probabilities of the policy before the first update. With one update they are the update's own forward pass.
  const needsOld = updates > 1 || settings.samplingCap !== undefined
  let touched = false
  const breathe = async (): Promise<void> => {
    await nextTurn()
    if (signal?.aborted && !touched) throw new AppError('cancelled', 'training was cancelled')
  }
  const prepared: { normaliser: Normaliser; rows: Row[]; tokens: number }[] = []
  for (const { rows, ...rest } of batches) {
    const ready: Row[] = []
    for (const { batch, constants } of rows) {
      const oldLogprobs = needsOld && { oldLogprobs: trainer.score(batch).logprobs }
      const toBase = recipe.beta > 0 && recipe.kl_target === 'base'
      const reference = toBase && { referenceLogprobs: trainer.score(batch, { reference: true }).logprobs }
      ready.push({ batch, constants: { ...constants, ...oldLogprobs, ...reference } })
      await breathe()
    }
    prepared.push({ ...rest, rows: ready })
  }

  const metrics: MetricSums[] = []
  let gradNorm = 0
  let skipped = 0
  let tokens = 0
  let syncSeconds = 0
  for (let iteration = 0; iteration < recipe.num_iterations; iteration++) {
    for (const { rows, normaliser, tokens: own } of prepared) {
      const parts: MetricSums[] = []
      const lift = liftFor(normaliser)
      for (const { batch, constants } of rows) {
        const output = trainer.accumulate(
          batch,
          ({ logprobs, entropy }, from) =>
            lifted(
              policyLoss({ logprobs, entropy, ...part(constants, from, from + logprobs.length) }, settings, normaliser),
              lift
            ),
          { wholeBatch: settings.ratio === 'sequence' }
        )
        parts.push(policyLoss({ ...output, ...constants }, settings, normaliser).metrics)
        if (iteration === 0)
          parts.push(samplingDifference(constants.oldLogprobs ?? output.logprobs, constants.samplingLogprobs!))
        await breathe()
      }
      tokens += own
      metrics.push(totalsAsMeans(mergeMetrics(parts)))
      const step = optimizer.step(rates, 1 / lift)
      touched = true
      gradNorm = Math.max(gradNorm, step.applied ? step.gradNorm : 0)
      skipped += Number(!step.applied)
      syncSeconds += step.syncSeconds
    }
  }
  return { metrics: mergeMetrics(metrics), gradNorm, tokens, updates, skipped, syncSeconds }
}

/**
 * Coefficients are about 1 / tokens. Sent back so small they drown: products with F16 and Q8_0 weights round what they are
 * multiplied by to F16 (or to blocks with an F16 scale), which has nothing under 6e-8. Measured on a random Q8_0 base, a
 * coefficient of 1e-4 left gradients that were off by half. So the backward gets them lifted to about 1, by a power of two,
 * which changes no other rounding, and the optimizer takes it out again.
 */
function liftFor({ tokens }: Normaliser): number {
  return 2 ** Math.ceil(Math.log2(Math.max(1, tokens)))
}

function lifted(coefficients: Coefficients, lift: number): Coefficients {
  const { logprob, entropy } = coefficients
  return { ...coefficients, logprob: logprob.map((it) => it * lift), entropy: entropy.map((it) => it * lift) }
}

function lossSettings(recipe: GrpoRecipe): PolicyLossSettings {
  return {
    lossType: recipe.loss_type,
    ratio: recipe.importance_sampling_level,
    clipLow: recipe.epsilon,
    clipHigh: recipe.epsilon_high ?? recipe.epsilon,
    beta: recipe.beta,
    klTarget: recipe.kl_target,
    klEstimator: recipe.kl_estimator,
    entropyCoef: recipe.entropy_coef,
    ...(recipe.delta !== undefined && { delta: recipe.delta }),
    ...(recipe.sampling_correction === 'truncate' && { samplingCap: recipe.sampling_correction_cap ?? 2 })
  }
}

function trajectoriesOf(group: Group): Trajectory[] {
  const prompt = Int32Array.from(group.prompt)
  return group.scored.map(({ rollout, advantage }) => {
    const tokens = Int32Array.from([...prompt, ...rollout.tokens])
    const mask = new Uint8Array(tokens.length).fill(1, prompt.length)
    return {
      tokens,
      mask,
      prompt,
      advantage,
      decodeLogprobs: rollout.logprobs,
      completionTokens: rollout.tokens.length
    }
  })
}

/** Per predicted token of a row: its sequence, that sequence's length and advantage, and what the decoder thought of it. */
function constantsOf(batch: PackedBatch, members: readonly Trajectory[]): Constants {
  const n = batch.at.length
  const advantages = new Float32Array(n)
  const sequenceTokens = new Int32Array(n)
  const samplingLogprobs = new Float32Array(n)
  for (let t = 0, inSequence = 0; t < n; t++) {
    const { advantage, decodeLogprobs, completionTokens } = members[batch.sequence[t]!]!
    inSequence = t > 0 && batch.sequence[t] === batch.sequence[t - 1] ? inSequence + 1 : 0
    advantages[t] = advantage
    sequenceTokens[t] = completionTokens
    samplingLogprobs[t] = decodeLogprobs[inSequence]!
  }
  return { sequence: batch.sequence, advantages, sequenceTokens, samplingLogprobs }
}

function part(constants: Constants, from: number, to: number): Constants {
  return Object.fromEntries(
    Object.entries(constants).map(([name, values]) => [name, values.subarray(from, to)])
  ) as unknown as Constants
}

/** Parts of equal size, or of sizes that differ by one. */
function split<T>(items: readonly T[], parts: number): T[][] {
  const bound = (i: number): number => Math.floor((i * items.length) / parts)
  return Array.from({ length: parts }, (_, i) => items.slice(bound(i), bound(i + 1)))
}
