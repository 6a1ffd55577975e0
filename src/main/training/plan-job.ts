/** A recipe's memory plan before it runs: the same plan the run will say in its first lines, without loading the base. */
import { existsSync, statSync } from 'node:fs'
import type { EvaluateRecipe, Recipe } from '../../shared/recipe.ts'
import type { JobFunction } from '../../shared/worker-contract.ts'
import { architectureOf } from '../engine/arch/index.ts'
import { modulesOf, targetModules } from '../engine/arch/targets.ts'
import { requireCache } from '../engine/cache-types.ts'
import { dataBytes, readGguf } from '../engine/gguf.ts'
import type { PlannedTraining } from '../engine/layer-scratch.ts'
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
import { grpoRun, planOf, sftRun } from './plan.ts'
import type { PlannedModel } from './plan.ts'

const MIB = 2 ** 20

export type PlanResult = {
  readonly fits: boolean
  readonly rows: readonly { readonly name: string; readonly mib: number }[]
  readonly allowedMib: number
  readonly notes: readonly string[]
}

type TrainingRecipe = Exclude<Recipe, EvaluateRecipe>

/** Result: `PlanResult`. */
export const runPlan: JobFunction<'plan'> = async ({ recipe }): Promise<PlanResult> => {
  const backend = await openDevice({ device: recipe.device, threads: recipe.threads, emit: () => undefined })
  try {
    const info = await readGguf(recipe.base)
    const model = { backend, info, ...architectureOf(info), sharesWeights: backend.native.internal !== null }
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

/** Rank and targets: those of the adapter the run starts from, where its file says them, else the recipe's. */
async function trainedBy(
  { architecture }: PlannedModel,
  { adapter, lora }: TrainingRecipe
): Promise<{ trained: PlannedTraining; note: readonly string[] }> {
  const fresh = { kind: 'lora', r: lora.r, targets: targetModules(architecture, lora.target_modules) } as const
  if (adapter === undefined) return { trained: fresh, note: [] }
  if (!existsSync(adapter) || statSync(adapter).isDirectory())
    return { trained: fresh, note: ['planned with lora’s rank: that of a PEFT folder is known once it is loaded'] }
  const { tensors } = await readGguf(adapter)
  const names = [...tensors.keys()]
  const rank = [...tensors].find(([name]) => name.endsWith('.lora_a'))?.[1].ne[1] ?? lora.r
  const targets = modulesOf(architecture).filter((module) =>
    names.some((name) => name.endsWith(`.${architecture.linears[architecture.targets[module]!]}.lora_a`))
  )
  return { trained: { kind: 'lora', r: rank, targets }, note: [] }
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
