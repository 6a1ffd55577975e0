/**
 * Sharpening: a short GRPO run under the report's length-aware reward (report, section 4). Each step samples groups with
 * the present policy, scores them, turns rewards into advantages inside each group, and moves the adapter (or, as in the
 * report, every weight) along them. Sampler and trainer read the same tensors, so nothing is copied between the phases.
 * Left out: a value model, a reward model, asynchronous rollouts.
 */
import { seeded } from '../../shared/random.ts'
import type { Metrics } from '../../shared/event.ts'
import type { GrpoRecipe } from '../../shared/recipe.ts'
import type { JobFunction } from '../../shared/worker-contract.ts'
import { Held } from '../engine/ffi/owned.ts'
import { Sampler } from '../engine/sampler.ts'
import { equalityProcess } from '../evaluation/equality-process.ts'
import { loadTasks, promptedTasks } from '../policy/tasksets.ts'
import type { Prompted } from '../policy/tasksets.ts'
import { resolveReward } from '../reasoning/reward.ts'
import { bestCheckpoint } from './checkpoint.ts'
import { epochs } from './epochs.ts'
import { heldOutScore } from './held-out.ts'
import { memoryMetrics } from './memory-metrics.ts'
import { readMetrics } from './metric-sums.ts'
import { grpoRun, planTrainer } from './plan.ts'
import { groupMetrics, sampleGroups, recordedGroups } from './rollouts.ts'
import type { Group, Means, Sampled } from './rollouts.ts'
import { rehearse, repeated } from './rehearsal.ts'
import { openRun } from './run.ts'
import { learningRate, scaledWarmup } from './schedule.ts'
import { openSession } from './session.ts'
import type { PlanFirst } from './session.ts'
import { stopReason, watch } from './stop-rules.ts'
import type { Watched } from './stop-rules.ts'
import { policyUpdate } from './policy-update.ts'
import { samplerInTurn } from './sampler-in-turn.ts'
import { stateOf } from './trained-files.ts'

/** What a resumed run cannot derive from its step. */
type State = { readonly cursor: number; readonly tokens: number; readonly skipped: number; readonly watched: Watched }

export const runGrpo: JobFunction<'grpo'> = async ({ recipe, resume }, { emit: tell, signal, afterStep, runDir }) => {
  const run = openRun({ recipe, folder: runDir, resume, emit: tell, signal, endAfterStep: afterStep })
  const { emit } = run
  const warn = (text: string): void => emit({ kind: 'log', level: 'warn', text })
  const held = new Held()
  try {
    emit({ kind: 'phase', name: 'loading' })
    const planned: PlanFirst = (base, trained) => {
      const { settings, sampling, totalBytes } = planTrainer(base, trained, grpoRun(recipe, base), emit)
      return { ...settings, ...sampling, peakBytes: totalBytes }
    }
    const session = held.own(await openSession(recipe, planned, emit, run.checkpoint))
    const { dialogue, trainer, optimizer, adapter, model } = session
    const { rowTokens, rollouts } = grpoRun(recipe, model)
    // a resumed run keeps its own width and cache
    const { width = rollouts.width, cacheType = 'f16', memory = 'together' } = session.plan
    const size = { contextTokens: rollouts.contextTokens, width, cacheType }
    const sampler = memory === 'in turn' ? samplerInTurn(model, size, trainer) : held.own(new Sampler(model, size))
    const systemMessage = recipe.system_message ?? dialogue.systemMessage
    const prompting = { dialogue, systemMessage, maxPromptTokens: recipe.max_prompt_length, warn }
    const prompted = (name: string, sources: GrpoRecipe['tasks']): Prompted[] =>
      sources.length === 0 ? [] : promptedTasks(name, loadTasks(sources), prompting)
    const tasks = prompted('tasks', recipe.tasks)
    const heldOut = prompted('held_out', recipe.held_out)
    const reward = resolveReward(recipe.reward, recipe.max_completion_length)
    const equality = equalityProcess()
    held.own({ dispose: equality.close })
    const means: Means = { sampler, adapter, dialogue, symbolic: equality.compare, recipe, reward, signal }
    const schedule = {
      peak: recipe.optimizer.learning_rate,
      warmupSteps: recipe.optimizer.warmup_steps ?? scaledWarmup(recipe.max_steps, 'grpo'),
      warmup: 'cosine', // report: cosine warm-up over the first ten steps
      decay: recipe.optimizer.lr_scheduler_type,
      totalSteps: recipe.max_steps
    } as const
    emit({
      kind: 'log',
      level: 'info',
      text: `${tasks.length} tasks, ${heldOut.length} held out; ${recipe.max_steps} steps of ${recipe.prompts_per_step} × ${recipe.num_generations} rollouts`
    })

    if (recipe.rehearsal) {
      const rows = recipe.prompts_per_step * recipe.num_generations * rollouts.contextTokens
      rehearse(trainer, repeated(tasks[0]!.prompt, Math.min(rowTokens, rows)), emit)
    }

    let state: State = run.checkpoint
      ? stateOf<State>(run.checkpoint)
      : { cursor: 0, tokens: 0, skipped: 0, watched: {} }
    const taskAt = epochs(tasks, recipe.seed, 'tasks')
    const nextTasks = (count: number): Prompted[] => {
      const from = state.cursor
      state = { ...state, cursor: from + count }
      return Array.from({ length: count }, (_, i) => taskAt(from + i))
    }

    /**
     * Rounds of groups. With dynamic sampling a flat group is left out and another one sampled in its place; without it, it
     * stays: its advantages are zero, but its tokens count in the normalisers, the KL and the entropy.
     */
    const rolloutsOf = async (step: number): Promise<{ rounds: Sampled[]; kept: Group[] }> => {
      const rounds: Sampled[] = []
      const kept: Group[] = []
      const most = recipe.dynamic_sampling ? recipe.max_refills : 0
      while (kept.length < recipe.prompts_per_step && rounds.length <= most) {
        const asked = nextTasks(recipe.prompts_per_step - kept.length)
        const seed = `${recipe.seed}/rollout/${step}/${rounds.length}`
        const progress = (done: number, of: number): void =>
          emit({ kind: 'progress', label: `step ${step} rollouts`, done, of })
        const sampled = await sampleGroups(means, asked, seed, progress)
        rounds.push(sampled)
        kept.push(...sampled.groups.filter(({ flat }) => !flat || !recipe.dynamic_sampling))
      }
      return { rounds, kept }
    }

    const files = (): ReturnType<typeof session.files> => session.files(state)
    /** The held-out score after a step; undefined where none is due. */
    const measured = async (step: number, metrics: Metrics): Promise<number | undefined> => {
      const due = step === recipe.max_steps || (recipe.eval_steps !== undefined && step % recipe.eval_steps === 0)
      if (heldOut.length === 0 || !due) return undefined
      const progress = (done: number, of: number): void =>
        emit({ kind: 'progress', label: `step ${step} held out`, done, of })
      const evaluation = await run.measure(step, metrics, files, () => heldOutScore(means, heldOut, progress))
      emit({ kind: 'evaluation', step, metrics: evaluation })
      return evaluation['accuracy']
    }

    emit({ kind: 'phase', name: 'training' })
    const last = run.checkpoint?.manifest
    const missed = last?.score === undefined && last ? await measured(last.step, last.metrics) : undefined
    if (last && missed !== undefined) run.save(last.step, last.metrics, files, missed) // a cancel cut its measure short
    for (
      let step = (run.checkpoint?.manifest.step ?? 0) + 1;
      step <= recipe.max_steps && !stopReason(state.watched); // a stopped run stays stopped when it is resumed
      step++
    ) {
      const started = performance.now()
      const before = state
      const { rounds, kept } = await run.attempt(
        step,
        () => session.files(before),
        () => rolloutsOf(step)
      )
      const sampledAt = performance.now()
      const groups = rounds.flatMap((round) => round.groups)

      const rate = learningRate(step - 1, schedule)
      const rates = { a: rate, b: rate * recipe.lora.loraplus_lr_ratio, weight: rate }
      const random = seeded(recipe.seed, 'minibatches', step)
      const update = await run.attempt(
        step,
        () => session.files(before),
        () => policyUpdate(trainer, optimizer, kept, recipe, rowTokens, rates, random, signal)
      )
      const trainedAt = performance.now()

      const sampledTokens = rounds.reduce((sum, { tokens }) => sum + tokens, 0)
      const phase = (name: keyof Sampled['seconds']): number =>
        rounds.reduce((sum, { seconds }) => sum + seconds[name], 0)
      const fromGroups = groupMetrics(groups)
      const fromUpdate = readMetrics(update.metrics)
      state = {
        ...state,
        tokens: state.tokens + sampledTokens,
        skipped: state.skipped + update.skipped,
        watched: watch(state.watched, recipe, { ...fromGroups, ...fromUpdate })
      }
      const metrics = {
        ...fromUpdate,
        ...fromGroups,
        grad_norm: update.gradNorm,
        learning_rate: rate,
        num_tokens: state.tokens,
        skipped_steps: state.skipped,
        trained_groups: kept.length,
        refills: rounds.length - 1,
        step_time: (trainedAt - started) / 1000,
        'timing_s/rollout': (sampledAt - started) / 1000,
        'timing_s/prefill': phase('prefill'),
        'timing_s/decode': phase('decode'),
        'timing_s/sample': phase('sample'),
        'timing_s/score': phase('score'),
        'timing_s/train': (trainedAt - sampledAt) / 1000 - update.syncSeconds,
        'timing_s/sync': update.syncSeconds,
        'tokens_per_second/rollout': (sampledTokens * 1000) / (sampledAt - started),
        'tokens_per_second/train': (update.tokens * 1000) / (trainedAt - sampledAt),
        ...memoryMetrics(session.backend, session.plan.peakBytes)
      }
      if (step % recipe.logging_steps === 0 || step === recipe.max_steps)
        emit({ kind: 'step', step, of: recipe.max_steps, metrics })
      const flat = groups.filter((group) => !kept.includes(group))
      for (const rows of recordedGroups([...kept, ...flat], means)) emit({ kind: 'sample', step, rows })
      const difference = fromUpdate['sampling/sampling_logp_difference/mean'] ?? 0
      if (difference > recipe.max_logprob_difference) {
        warn(
          `step ${step}: decoder and trainer differ by ${difference.toFixed(3)} nats per token on average, more than max_logprob_difference ${recipe.max_logprob_difference}; a less quantised base or sampling_correction: truncate helps`
        )
      }
      if (kept.length === 0)
        warn(`step ${step}: in every group all ${recipe.num_generations} rewards were equal, so nothing was trained`)

      run.stepped(step, metrics, kept.length === 0 || update.skipped < update.updates)
      const score = await measured(step, metrics)
      run.afterStep(step, metrics, files, score)
      if (stopReason(state.watched)) run.save(step, metrics, files, score)
    }
    const stopped = stopReason(state.watched)
    // A policy that went wrong is not handed over: the best checkpoint by held-out score is, where there is one.
    const best = stopped ? bestCheckpoint(runDir) : undefined
    const delivered = await session.deliver(runDir, best)
    run.finish(stopped ? 'stopped' : 'done', stopped ?? `trained ${recipe.max_steps} steps`)
    return { ...delivered, stopped, lines: [...(stopped ? [`stopped early: ${stopped}`] : []), ...delivered.lines] }
  } finally {
    held.dispose()
    run.close()
  }
}
