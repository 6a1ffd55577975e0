/**
 * Teaching: supervised fine-tuning on think-tagged traces (report, section 3), of a LoRA adapter or, as in the report, of
 * every weight. The loss is the cross entropy of the assistant's tokens, thought included; the prompt never trains.
 * Left out: data mixtures by cluster weights are made before, in the data file.
 */
import { setImmediate as nextTurn } from 'node:timers/promises'
import { AppError } from '../../shared/errors.ts'
import { seeded } from '../../shared/random.ts'
import type { Metrics } from '../../shared/event.ts'
import type { CacheType, SftRecipe } from '../../shared/recipe.ts'
import type { JobFunction } from '../../shared/worker-contract.ts'
import { pack } from '../engine/batch.ts'
import type { PackedBatch } from '../engine/batch.ts'
import { Held } from '../engine/ffi/owned.ts'
import type { Plan } from '../engine/memory-plan.ts'
import { Sampler } from '../engine/sampler.ts'
import type { Trainer } from '../engine/trainer.ts'
import { keepLeftOut, leftOutWords } from './left-out.ts'
import { batchSource, longestRow, readLessons, requireLessons, rowTokens, stepsOf, trainedTokens } from './lessons.ts'
import type { Lesson } from './lessons.ts'
import { sftLoss } from './loss.ts'
import { memoryMetrics } from './memory-metrics.ts'
import { planAnswers, planTrainer, sftRun } from './plan.ts'
import type { PlannedAnswers } from './plan.ts'
import { rehearse } from './rehearsal.ts'
import { openRun } from './run.ts'
import { learningRate, scaledWarmup } from './schedule.ts'
import { openSession } from './session.ts'
import type { PlanFirst, Session } from './session.ts'
import { stateOf } from './trained-files.ts'

/** What a resumed run cannot derive from its step: tokens so far, and how evaluations sample. */
type State = { readonly tokens: number; readonly answersWidth?: number; readonly answersCache?: CacheType }

export const runSft: JobFunction<'sft'> = async ({ recipe, resume }, { emit: tell, signal, afterStep, runDir }) => {
  const run = openRun({ recipe, folder: runDir, resume, emit: tell, signal, endAfterStep: afterStep })
  const { emit } = run
  const held = new Held()
  try {
    emit({ kind: 'phase', name: 'loading' })
    const warn = (text: string): void => emit({ kind: 'log', level: 'warn', text })
    let plan: Plan | undefined // of a fresh run; one that goes on keeps its own
    const planned: PlanFirst = (base, trained) => {
      plan = planTrainer(base, trained, sftRun(recipe), emit)
      return { ...plan.settings, peakBytes: plan.totalBytes }
    }
    const session = held.own(await openSession(recipe, planned, emit, run.checkpoint))
    const { dialogue, trainer, optimizer } = session

    // The lessons: every sample rendered and checked, long ones left out whole.
    emit({ kind: 'phase', name: 'checking samples' })
    const sources = [recipe.train, ...(recipe.held_out === undefined ? [] : [recipe.held_out])]
    const read = sources.map((file) => readLessons(file, recipe, dialogue))
    keepLeftOut(runDir, read.flatMap(({ leftOut }) => leftOut)) // prettier-ignore
    for (const { file, lessons, leftOut } of read)
      leftOutWords(file, leftOut, lessons.length + leftOut.length, recipe.max_length).forEach(warn)
    const [all, separate] = read.map((one) => requireLessons(one, recipe)) as [Lessons, Lessons?]
    const shuffled = seeded(recipe.seed, 'held out').shuffle(all)
    const heldOutCount = separate ? 0 : Math.min(Math.floor(all.length * recipe.held_out_share), all.length - 1)
    const heldOut = separate ?? shuffled.slice(0, heldOutCount)
    const lessons = shuffled.slice(heldOutCount)

    const steps = stepsOf(lessons.length, recipe)
    const schedule = {
      peak: recipe.optimizer.learning_rate,
      warmupSteps: recipe.optimizer.warmup_steps ?? scaledWarmup(steps, 'sft'),
      warmup: 'linear',
      decay: recipe.optimizer.lr_scheduler_type,
      totalSteps: steps
    } as const
    emit({
      kind: 'log',
      level: 'info',
      text: `${lessons.length} samples, ${heldOut.length} held out, ${steps} steps of ${recipe.train_batch_size}, ${schedule.warmupSteps} of warm-up`
    })

    if (recipe.rehearsal) rehearse(trainer, longestRow(lessons, heldOut, recipe), emit)
    const batchOf = batchSource(lessons, recipe)
    const earlier = run.checkpoint && stateOf<State>(run.checkpoint)
    const answers = answersOf(heldOut, recipe)
    const fresh = plan && answers ? planAnswers(session.model, plan, answers, emit) : undefined
    const size: PlannedAnswers = {
      width: earlier?.answersWidth ?? fresh?.width ?? 1,
      cacheType: earlier?.answersCache ?? fresh?.cacheType ?? 'f16'
    }
    let seenTokens = earlier?.tokens ?? 0
    const stateAt = (tokens: number): State => ({
      tokens,
      answersWidth: size.width,
      answersCache: size.cacheType
    })
    const files = (): ReturnType<typeof session.files> => session.files(stateAt(seenTokens))
    /** The held-out score after a step, higher is better; undefined where none is due. */
    const measured = async (step: number, metrics: Metrics): Promise<number | undefined> => {
      const due = step === steps || (recipe.eval_steps !== undefined && step % recipe.eval_steps === 0)
      if (heldOut.length === 0 || !due) return undefined
      const evaluation = await run.measure(step, metrics, files, () =>
        evaluate(heldOut, size, recipe, session, step, signal)
      )
      emit({ kind: 'evaluation', step, metrics: evaluation })
      return -evaluation['loss']!
    }

    emit({ kind: 'phase', name: 'training' })
    const last = run.checkpoint?.manifest
    const missed = last?.score === undefined && last ? await measured(last.step, last.metrics) : undefined
    if (last && missed !== undefined) run.save(last.step, last.metrics, files, missed) // a cancel cut its measure short
    for (let step = (run.checkpoint?.manifest.step ?? 0) + 1; step <= steps; step++) {
      const started = performance.now()
      const batch = batchOf(step)
      const tokens = trainedTokens(batch)
      const rows = recipe.packing
        ? pack(batch, rowTokens(batch, recipe))
        : batch.flatMap((lesson) => pack([lesson], lesson.tokens.length))
      const total = rows.reduce((sum, row) => sum + row.tokens.length, 0)

      const before = stateAt(seenTokens)
      const { loss, entropy, top } = await run.attempt(
        step,
        () => session.files(before),
        () => gradientsOf(rows, trainer, signal)
      )
      const rate = learningRate(step - 1, schedule)
      const { gradNorm, applied } = optimizer.step(
        { a: rate, b: rate * recipe.lora.loraplus_lr_ratio, weight: rate },
        1 / tokens
      )
      seenTokens += total
      const seconds = (performance.now() - started) / 1000
      const metrics = {
        loss: loss / tokens,
        entropy: entropy / tokens,
        mean_token_accuracy: top / tokens,
        learning_rate: rate,
        grad_norm: gradNorm,
        epoch: (step * recipe.train_batch_size) / lessons.length,
        num_tokens: seenTokens,
        step_time: seconds,
        'timing_s/train': seconds,
        'tokens_per_second/train': total / seconds,
        ...memoryMetrics(session.backend, session.plan.peakBytes)
      }
      if (step % recipe.logging_steps === 0 || step === steps) emit({ kind: 'step', step, of: steps, metrics })

      run.stepped(step, metrics, applied)
      const score = await measured(step, metrics)
      run.afterStep(step, metrics, files, score)
    }

    const delivered = await session.deliver(runDir)
    run.finish('done', `trained ${steps} steps`)
    return { ...delivered, steps }
  } finally {
    held.dispose()
    run.close()
  }
}

/** Adds the gradients of the sum over tokens; the optimizer divides by their number, so that rows add up to the batch's mean. */
async function gradientsOf(
  rows: readonly PackedBatch[],
  trainer: Trainer,
  signal: AbortSignal
): Promise<{ loss: number; entropy: number; top: number }> {
  let loss = 0
  let entropy = 0
  let top = 0
  for (const row of rows) {
    const output = trainer.accumulate(row, ({ logprobs, entropy: h }, from) =>
      sftLoss({ logprobs, entropy: h, sequence: row.sequence.subarray(from, from + logprobs.length) }, 1)
    )
    loss -= output.logprobs.reduce((sum, value) => sum + value, 0)
    entropy += output.entropy.reduce((sum, value) => sum + value, 0)
    top += output.top.reduce((sum, value) => sum + value, 0)
    await heardNoCancel(signal)
  }
  return { loss, entropy, top }
}

/** Between rows: lets the event loop turn. Throws AppError('cancelled') once the signal has fired. */
async function heardNoCancel(signal: AbortSignal): Promise<void> {
  await nextTurn()
  if (signal.aborted) throw new AppError('cancelled', 'training was cancelled')
}

type Lessons = readonly Lesson[]

/** The answers an evaluation samples; null where it samples none. */
function answersOf(
  heldOut: Lessons,
  recipe: SftRecipe
): { count: number; contextTokens: number; cacheType: SftRecipe['cache_type'] } | null {
  const asked = heldOut.slice(0, recipe.eval_samples)
  if (asked.length === 0) return null
  const longest = asked.reduce((most, { prompt }) => Math.max(most, prompt.length), 0)
  const contextTokens = longest + recipe.max_completion_length
  return { count: asked.length, contextTokens, cacheType: recipe.cache_type }
}

/** Mean loss of the held-out lessons, and the mean length of answers sampled to some of their prompts. */
async function evaluate(
  heldOut: Lessons,
  size: PlannedAnswers,
  recipe: SftRecipe,
  session: Session,
  step: number,
  signal: AbortSignal
): Promise<Record<string, number>> {
  const { trainer, model, adapter } = session
  let negative = 0
  let top = 0
  for (const row of pack(heldOut, rowTokens(heldOut, recipe))) {
    const output = trainer.score(row)
    negative = output.logprobs.reduce((sum, logprob) => sum - logprob, negative)
    top = output.top.reduce((sum, hit) => sum + hit, top)
    await heardNoCancel(signal)
  }
  const tokens = trainedTokens(heldOut)
  const metrics = { loss: negative / tokens, mean_token_accuracy: top / tokens }
  const answers = answersOf(heldOut, recipe)
  if (!answers) return metrics
  trainer.release() // sampling takes the memory of the activations
  const sampler = new Sampler(model, { ...size, contextTokens: answers.contextTokens })
  try {
    const { groups } = await sampler.generate(
      heldOut
        .slice(0, answers.count)
        .map(({ prompt }, i) => ({ prompt, seeds: [`${recipe.seed}/held out/${step}/${i}`] })),
      {
        sampling: { temperature: 1, top_k: 0, top_p: 1, min_p: 0 },
        maxTokens: recipe.max_completion_length,
        adapter,
        signal
      }
    )
    const rollouts = groups.flat()
    return {
      ...metrics,
      'completions/mean_length': rollouts.reduce((sum, { tokens: t }) => sum + t.length, 0) / rollouts.length,
      'completions/clipped_ratio': rollouts.filter(({ stop }) => stop === 'length').length / rollouts.length
    }
  } finally {
    sampler.dispose()
  }
}
