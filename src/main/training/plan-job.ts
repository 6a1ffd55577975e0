/** A recipe's memory plan before it runs: the same plan the run will say in its first lines, without loading the base. */
import type { EvaluateRecipe } from '../../shared/recipe.ts'
import type { JobFunction } from '../../shared/worker-contract.ts'
import type { Backend } from '../engine/backend.ts'
import { PLAN_ITEMS } from '../engine/memory-plan.ts'
import { deviceLine, openDevice } from '../engine/open-device.ts'
import { planAnsweringInTurn } from '../evaluation/answering-memory.ts'
import { policyHeaders } from '../evaluation/policy-models.ts'
import { loadTasks } from '../policy/tasksets.ts'
import { grpoRun, plannedModel, planOf, sftRun, trainedBy } from './plan.ts'

const MIB = 2 ** 20

export type PlanResult = {
  readonly fits: boolean
  readonly rows: readonly { readonly name: string; readonly mib: number }[]
  readonly allowedMib: number
  readonly notes: readonly string[]
}

/** Result: `PlanResult`. */
export const runPlan: JobFunction<'plan'> = async ({ recipe }): Promise<PlanResult> => {
  const backend = await openDevice({ device: recipe.device, threads: recipe.threads, emit: () => undefined })
  try {
    if (recipe.kind === 'evaluate') return await planEvaluation(backend, recipe)
    const model = await plannedModel(recipe.base, backend)
    const { trained, note } = await trainedBy(model, recipe)
    const plan = planOf(model, trained, recipe.kind === 'sft' ? sftRun(recipe) : grpoRun(recipe, model))
    return {
      fits: plan.fits,
      rows: PLAN_ITEMS.map((name) => ({ name, mib: plan.bytes[name] / MIB })),
      allowedMib: plan.limitBytes / MIB,
      notes: [deviceLine(backend), ...plan.reasons, ...(plan.change === null ? [] : [plan.change]), ...note]
    }
  } finally {
    backend.dispose()
  }
}

/** An evaluation chooses its width so that it fits; weights alone can be too much. Throws AppError('recipe') as a run would. */
async function planEvaluation(backend: Backend, recipe: EvaluateRecipe): Promise<PlanResult> {
  const contextTokens = recipe.max_prompt_length + recipe.max_completion_length
  const count = recipe.runs * Math.max(...recipe.tasksets.map(({ tasks }) => loadTasks(tasks).length))
  const asked = { count, contextTokens, width: recipe.rollout_width, cacheType: recipe.cache_type }
  const models = await policyHeaders(recipe, backend, contextTokens)
  const { bytes, limitBytes, fits, width, cacheType } = planAnsweringInTurn(models, asked, recipe.memory_limit_mib)
  const turns = models.length > 1 ? [`${models.length} models, one after another: the largest is planned for`] : []
  return {
    fits,
    rows: Object.entries(bytes).map(([name, value]) => ({ name, mib: value / MIB })),
    allowedMib: limitBytes / MIB,
    notes: [deviceLine(backend), `${width} answers at once, keys and values in ${cacheType}`, ...turns]
  }
}
