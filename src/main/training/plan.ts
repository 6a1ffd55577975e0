/** How a recipe's trainer uses memory, decided before anything runs and said in the run's first lines. */
import type { Emit } from '../../shared/event.ts'
import type { LoraSettings } from '../../shared/recipe.ts'
import { planMemory, printPlan, requirePlan } from '../engine/memory.ts'
import type { Plan, PlanRequest } from '../engine/memory.ts'
import type { Model } from '../engine/model.ts'
import type { TrainerSettings } from '../engine/trainer.ts'

/** Of what is free when the run starts; the rest is for the system and for what else grows. */
const DEFAULT_SHARE = 0.8

export type PlannedRun = {
  readonly lora: LoraSettings
  readonly memory_limit_mib?: number | undefined
  /** Tokens of a packed row. */
  readonly rowTokens: number
  readonly rollouts?: PlanRequest['rollouts']
}

/** What a plan needs of a model: nothing that is loaded. */
export type PlannedModel = Pick<Model, 'backend' | 'architecture' | 'config' | 'info' | 'sharesWeights'>

/** Emits the plan and returns its settings. Throws AppError('memory') with the setting to change when it does not fit. */
export function planTrainer(model: PlannedModel, run: PlannedRun, emit: Emit): TrainerSettings {
  const plan = planOf(model, run)
  emit({ kind: 'plan', lines: printPlan(plan) })
  return requirePlan(plan).settings
}

/** The plan of a run; computes and loads nothing. */
export function planOf(model: PlannedModel, run: PlannedRun): Plan {
  const { backend, architecture, config, info } = model
  const free = backend.isCpu ? process.availableMemory() : backend.freeMemory()
  return planMemory(
    backend,
    { architecture, config, info },
    {
      trained: { kind: 'lora', r: run.lora.r, targets: run.lora.target_modules },
      tokens: run.rowTokens,
      ...(run.rollouts && { rollouts: run.rollouts }),
      limitBytes: run.memory_limit_mib === undefined ? DEFAULT_SHARE * free : run.memory_limit_mib * 2 ** 20,
      ownWeights: !model.sharesWeights
    }
  )
}
