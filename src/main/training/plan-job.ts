/** A recipe's memory plan before it runs: the same plan the run will say in its first lines, without loading the base. */
import type { EvaluateRecipe } from '../../shared/recipe.ts'
import type { JobFunction } from '../../shared/worker-contract.ts'
import { requireCache } from '../engine/cache-types.ts'
import { dataBytes } from '../engine/gguf.ts'
import { PLAN_ITEMS } from '../engine/memory-plan.ts'
import { processBytes } from '../engine/memory-sizes.ts'
import { deviceLine, openDevice } from '../engine/open-device.ts'
import {
  cacheBytes,
  comfortableCache,
  comfortableWidth,
  decodingBytes,
  memoryLimit
} from '../engine/sampling-memory.ts'
import { loadTasks } from '../policy/tasksets.ts'
import { grpoRun, plannedModel, planOf, sftRun, trainedBy } from './plan.ts'
import type { PlannedModel } from './plan.ts'

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
    const model = await plannedModel(recipe.base, backend)
    if (recipe.kind === 'evaluate') return planEvaluation(model, recipe)
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
function planEvaluation(model: PlannedModel, recipe: EvaluateRecipe): PlanResult {
  const { config, info, backend } = model
  const contextTokens = recipe.max_prompt_length + recipe.max_completion_length
  const asked = Math.max(...recipe.tasksets.map(({ tasks }) => loadTasks(tasks).length))
  const cacheType = recipe.cache_type ?? comfortableCache(model, contextTokens, recipe.memory_limit_mib)
  requireCache(config.headDim, cacheType)
  const one = { contextTokens, cacheType }
  const width = recipe.rollout_width ?? comfortableWidth(model, one, asked * recipe.runs, recipe.memory_limit_mib)
  const rows = [
    { name: 'weights', mib: [...info.tensors.values()].reduce((sum, tensor) => sum + dataBytes(tensor), 0) / MIB },
    { name: 'process', mib: backend.isCpu ? processBytes(config) / MIB : 0 },
    { name: 'KV cache', mib: cacheBytes(config, { ...one, width }) / MIB },
    { name: 'decoding', mib: decodingBytes(config, width) / MIB }
  ]
  const allowedMib = memoryLimit(backend, recipe.memory_limit_mib) / MIB
  return {
    fits: rows.reduce((sum, { mib }) => sum + mib, 0) <= allowedMib,
    rows,
    allowedMib,
    notes: [deviceLine(backend), `${width} answers at once, keys and values in ${cacheType}`]
  }
}
