/** The held-out score by which a run's best checkpoint is chosen (the report chose its own by AIME 2024 accuracy). */
import type { Metrics } from '../../shared/event.ts'
import { grade } from '../policy/grading.ts'
import type { Graded } from '../policy/grading.ts'
import type { Means } from './rollouts.ts'
import type { Prompted } from '../policy/tasksets.ts'

/** Accuracy, mean length and cut-off share over `eval_runs` answers to each task; the seeds are the same at every step. */
export async function heldOutScore(
  { sampler, adapter, recipe, dialogue, symbolic, signal }: Means,
  tasks: readonly Prompted[],
  onProgress: (done: number, of: number) => void
): Promise<Metrics> {
  const seeds = (task: string): string[] =>
    Array.from({ length: recipe.eval_runs }, (_, i) => `${recipe.seed}/held out/${task}/${i}`)
  const { groups } = await sampler.generate(
    tasks.map(({ task, prompt }) => ({ prompt, seeds: seeds(task.id) })),
    { sampling: recipe.sampling, maxTokens: recipe.max_completion_length, adapter, signal, onProgress }
  )
  const graded: Graded[] = []
  for (const [i, rollouts] of groups.entries()) {
    for (const rollout of rollouts) graded.push(await grade(tasks[i]!.task, rollout, dialogue, { symbolic }))
  }
  const share = (count: number): number => count / graded.length
  return {
    accuracy: share(graded.filter(({ verdict }) => verdict.kind === 'correct').length),
    'completions/mean_length': graded.reduce((sum, { rollout }) => sum + rollout.tokens.length, 0) / graded.length,
    'completions/clipped_ratio': share(graded.filter(({ rollout }) => rollout.stop === 'length').length)
  }
}
