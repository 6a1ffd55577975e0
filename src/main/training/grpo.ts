/**
 * Sharpening: a short GRPO run under the report's length-aware reward (report, section 4). Each step samples groups with
 * the present policy, scores them, turns rewards into advantages inside each group, and moves the adapter along them.
 * Sampler and trainer read the same weights and the same adapter, so nothing is copied between the phases.
 * Left out: a value model, a reward model, asynchronous rollouts.
 */
import { join } from 'node:path'
import { seeded } from '../../shared/random.ts'
import type { GrpoRecipe } from '../../shared/recipe.ts'
import type { JobFunction } from '../../shared/worker-contract.ts'
import { Sampler } from '../engine/sampler.ts'
import { taskMessages } from '../policy/dialogue.ts'
import { loadTasks } from '../policy/tasksets.ts'
import { REASONING_SYSTEM_MESSAGE } from '../reasoning/prompts.ts'
import { resolveReward } from '../reasoning/reward.ts'
import { heldOutScore } from './held-out.ts'
import { readMetrics } from './metric-sums.ts'
import { planTrainer } from './plan.ts'
import { groupMetrics, sampleGroups, sampleRows } from './rollouts.ts'
import type { Group, Prompted, Sampled } from './rollouts.ts'
import { openRun } from './run.ts'
import { learningRate, scaledWarmup } from './schedule.ts'
import { openSession, stateOf } from './session.ts'
import { stopReason, watch } from './stop-rules.ts'
import type { Watched } from './stop-rules.ts'
import { policyUpdate } from './policy-update.ts'

/** What a resumed run cannot derive from its step. */
type State = { readonly cursor: number; readonly tokens: number; readonly skipped: number; readonly watched: Watched }

export const runGrpo: JobFunction<'grpo'> = async ({ recipe, resume }, { emit: tell, signal, runDir }) => {
  const run = openRun({ recipe, folder: runDir, resume, emit: tell, signal })
  const { emit } = run
  emit({ kind: 'phase', name: 'loading' })
  const contextTokens = recipe.max_prompt_length + recipe.max_completion_length
  const rowTokens = Math.max(1024, contextTokens)
  const width = recipe.rollout_width ?? Math.min(64, recipe.prompts_per_step * recipe.num_generations)
  const session = await openSession(
    recipe,
    (model) => planTrainer(model, { ...recipe, rowTokens, rollouts: { width, contextTokens } }, emit),
    run.checkpoint
  )
  const { dialogue, trainer, optimizer, adapter, model } = session
  const sampler = new Sampler(model, { width, contextTokens })
  try {
    const system = recipe.system_message ?? REASONING_SYSTEM_MESSAGE
    const prompted = (sources: GrpoRecipe['tasks']): Prompted[] =>
      loadTasks(sources)
        .map((task) => ({ task, prompt: dialogue.promptTokens(taskMessages(task.prompt, system)) }))
        .filter(({ prompt }) => prompt.length <= recipe.max_prompt_length)
    const tasks = prompted(recipe.tasks)
    const heldOut = prompted(recipe.held_out)
    const reward = resolveReward(recipe.reward, recipe.max_completion_length)
    const updates = recipe.num_iterations * recipe.minibatches
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

    let state: State = run.checkpoint
      ? stateOf<State>(run.checkpoint)
      : { cursor: 0, tokens: 0, skipped: 0, watched: {} }
    const nextTasks = (count: number): Prompted[] => {
      const from = state.cursor
      state = { ...state, cursor: from + count }
      return Array.from({ length: count }, (_, i) => taskAt(tasks, from + i, recipe.seed))
    }

    /** Rounds of groups until enough of them have something to teach: a flat group has no gradient and is never trained on. */
    const rolloutsOf = async (step: number): Promise<{ rounds: Sampled[]; kept: Group[] }> => {
      const rounds: Sampled[] = []
      const kept: Group[] = []
      const most = recipe.dynamic_sampling ? recipe.max_refills : 0
      while (kept.length < recipe.prompts_per_step && rounds.length <= most) {
        const asked = nextTasks(recipe.prompts_per_step - kept.length)
        const seed = `${recipe.seed}/rollout/${step}/${rounds.length}`
        const progress = (done: number, of: number): void =>
          emit({ kind: 'progress', label: `step ${step} rollouts`, done, of })
        const sampled = await sampleGroups(sampler, adapter, asked, recipe, reward, dialogue, seed, signal, progress)
        rounds.push(sampled)
        kept.push(...sampled.groups.filter(({ flat }) => !flat))
      }
      return { rounds, kept }
    }

    emit({ kind: 'phase', name: 'training' })
    for (let step = (run.checkpoint?.manifest.step ?? 0) + 1; step <= recipe.max_steps; step++) {
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
      const update = policyUpdate(
        trainer,
        optimizer,
        kept,
        recipe,
        rowTokens,
        { a: rate, b: rate * recipe.lora.loraplus_lr_ratio, weight: rate },
        seeded(recipe.seed, 'minibatches', step)
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
        'timing_s/train': (trainedAt - sampledAt) / 1000,
        'tokens_per_second/rollout': (sampledTokens * 1000) / (sampledAt - started),
        'tokens_per_second/train': (update.tokens * 1000) / (trainedAt - sampledAt)
      }
      emit({ kind: 'step', step, of: recipe.max_steps, metrics })
      emit({ kind: 'sample', step, rows: sampleRows(kept[0] ?? groups[0]!, dialogue) })
      const difference = fromUpdate['sampling/sampling_logp_difference/mean'] ?? 0
      if (difference > recipe.max_logprob_difference) {
        emit({
          kind: 'log',
          level: 'warn',
          text: `step ${step}: decoder and trainer differ by ${difference.toFixed(3)} nats per token on average, more than max_logprob_difference ${recipe.max_logprob_difference}; a less quantised base or sampling_correction: truncate helps`
        })
      }
      if (kept.length === 0)
        emit({
          kind: 'log',
          level: 'warn',
          text: `step ${step}: in every group all ${recipe.num_generations} rewards were equal, so nothing was trained`
        })

      let score: number | undefined
      if (
        heldOut.length > 0 &&
        recipe.eval_steps !== undefined &&
        (step % recipe.eval_steps === 0 || step === recipe.max_steps)
      ) {
        const evaluation = await heldOutScore(sampler, adapter, heldOut, recipe, dialogue, signal, (done, of) =>
          emit({ kind: 'progress', label: `step ${step} held out`, done, of })
        )
        emit({ kind: 'evaluation', step, metrics: evaluation })
        score = evaluation['accuracy']
      }
      const files = (): ReturnType<typeof session.files> => session.files(state)
      run.afterStep(step, metrics, update.skipped < updates || kept.length === 0, files, score)
      const stop = stopReason(state.watched)
      if (stop) {
        run.save(step, metrics, files, score)
        adapter.save(join(runDir, 'adapter.gguf'))
        run.finish('stopped', stop)
        return {
          adapter: join(runDir, 'adapter.gguf'),
          steps: step,
          stopped: stop,
          lines: [`stopped early: ${stop}`, `adapter: ${join(runDir, 'adapter.gguf')}`]
        }
      }
    }
    const path = join(runDir, 'adapter.gguf')
    adapter.save(path)
    run.finish('done', `trained ${recipe.max_steps} steps`)
    return { adapter: path, steps: recipe.max_steps, lines: [`adapter: ${path}`] }
  } finally {
    sampler.dispose()
    session.dispose()
    run.close()
  }
}

/** The n-th task of an endless sequence of epochs, each in an order of its own. */
function taskAt(tasks: readonly Prompted[], n: number, seed: number): Prompted {
  const epoch = Math.floor(n / tasks.length)
  return seeded(seed, 'tasks', epoch).shuffle(tasks)[n % tasks.length]!
}
