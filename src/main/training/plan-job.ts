/** A recipe's memory plan before it runs: the same plan the run will say in its first lines, without loading the base. */
import type { EvaluateRecipe, Recipe } from '../../shared/recipe.ts'
import type { JobFunction } from '../../shared/worker-contract.ts'
import { architectureOf } from '../engine/arch/index.ts'
import { openBackend } from '../engine/backend.ts'
import { dataBytes, readGguf } from '../engine/gguf.ts'
import { PLAN_ITEMS } from '../engine/memory.ts'
import { comfortableWidth } from '../evaluation/measure.ts'
import { loadTasks } from '../policy/tasksets.ts'
import { planOf } from './plan.ts'
import type { PlannedModel, PlannedRun } from './plan.ts'

const MIB = 2 ** 20

export type PlanResult = {
  readonly fits: boolean
  readonly rows: readonly { readonly name: string; readonly mib: number }[]
  readonly allowedMib: number
  readonly notes: readonly string[]
}

/** Result: `PlanResult`. */
export const runPlan: JobFunction<'plan'> = async ({ recipe }): Promise<PlanResult> => {
  const backend = openBackend(recipe.threads === undefined ? {} : { threads: recipe.threads })
  try {
    const info = await readGguf(recipe.base)
    const architecture = architectureOf(info)
    const model = {
      backend,
      info,
      architecture,
      config: architecture.config(info),
      sharesWeights: backend.native.internal !== null
    }
    if (recipe.kind === 'evaluate') return planEvaluation(model, recipe)
    const plan = planOf(model, plannedRun(recipe))
    return {
      fits: plan.fits,
      rows: PLAN_ITEMS.map((name) => ({ name, mib: plan.bytes[name] / MIB })),
      allowedMib: plan.limitBytes / MIB,
      notes: [...plan.reasons, ...(plan.change === null ? [] : [plan.change])]
    }
  } finally {
    backend.dispose()
  }
}

/** As `runSft` and `runGrpo` ask for it. */
function plannedRun(recipe: Exclude<Recipe, { kind: 'evaluate' }>): PlannedRun {
  if (recipe.kind === 'sft') return { ...recipe, rowTokens: Math.max(1024, recipe.max_length) }
  const contextTokens = recipe.max_prompt_length + recipe.max_completion_length
  const width = recipe.rollout_width ?? Math.min(64, recipe.prompts_per_step * recipe.num_generations)
  return { ...recipe, rowTokens: Math.max(1024, contextTokens), rollouts: { width, contextTokens } }
}

/** An evaluation chooses its width so that it fits; weights alone can be too much. */
function planEvaluation(model: PlannedModel, recipe: EvaluateRecipe): PlanResult {
  const { config, info, backend } = model
  const contextTokens = recipe.max_prompt_length + recipe.max_completion_length
  const asked = Math.max(...recipe.tasksets.map(({ tasks }) => loadTasks(tasks).length))
  const width =
    recipe.rollout_width ?? comfortableWidth(model, contextTokens, asked * recipe.runs, recipe.memory_limit_mib)
  const weights = [...info.tensors.values()].reduce((sum, tensor) => sum + dataBytes(tensor), 0)
  const cache = contextTokens * config.layers * config.keyHeads * config.headDim * 2 * 2 * width
  const decoding = width * config.vocabulary * 4 * 6
  const free = backend.isCpu ? process.availableMemory() : backend.freeMemory()
  const allowed = recipe.memory_limit_mib === undefined ? 0.8 * free : recipe.memory_limit_mib * MIB
  return {
    fits: weights + cache + decoding <= allowed,
    rows: [
      { name: 'weights', mib: weights / MIB },
      { name: 'KV cache', mib: cache / MIB },
      { name: 'decoding', mib: decoding / MIB }
    ],
    allowedMib: allowed / MIB,
    notes: [`${width} answers at once`]
  }
}
