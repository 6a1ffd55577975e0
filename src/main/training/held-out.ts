/** The held-out score by which a run's best checkpoint is chosen (the report chose its own by AIME 2024 accuracy). */
import type { Metrics } from '../../shared/event.ts'
import type { GrpoRecipe } from '../../shared/recipe.ts'
import type { Adapter } from '../engine/adapter.ts'
import type { Sampler } from '../engine/sampler.ts'
import type { Dialogue } from '../policy/dialogue.ts'
import { grade } from '../policy/grading.ts'
import type { Prompted } from './rollouts.ts'

/** Accuracy, mean length and cut-off share over `eval_runs` answers to each task; the seeds are the same at every step. */
export async function heldOutScore(
  sampler: Sampler,
  adapter: Adapter,
  tasks: readonly Prompted[],
  recipe: GrpoRecipe,
  dialogue: Dialogue,
  signal: AbortSignal,
  onProgress: (done: number, of: number) => void
): Promise<Metrics> {
  const seeds = (task: string): string[] =>
    Array.from({ length: recipe.eval_runs }, (_, i) => `${recipe.seed}/held out/${task}/${i}`)
  const { groups } = await sampler.generate(
    tasks.map(({ task, prompt }) => ({ prompt, seeds: seeds(task.id) })),
    { sampling: recipe.sampling, maxTokens: recipe.max_completion_length, adapter, signal, onProgress }
  )
  const graded = groups.flatMap((rollouts, i) => rollouts.map((rollout) => grade(tasks[i]!.task, rollout, dialogue)))
  const share = (count: number): number => count / graded.length
  return {
    accuracy: share(graded.filter(({ verdict }) => verdict.kind === 'correct').length),
    'completions/mean_length': graded.reduce((sum, { rollout }) => sum + rollout.tokens.length, 0) / graded.length,
    'completions/clipped_ratio': share(graded.filter(({ rollout }) => rollout.stop === 'length').length)
  }
}
