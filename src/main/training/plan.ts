/** How a recipe's trainer uses memory, decided before anything runs and said in the run's first lines. */
import type { Emit } from '../../shared/event.ts'
import type { LoraSettings } from '../../shared/recipe.ts'
import { planMemory, printPlan, requirePlan } from '../engine/memory.ts'
import type { PlanRequest } from '../engine/memory.ts'
import { deviceLine } from '../engine/open-device.ts'
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

/** Emits the plan and returns its settings. Throws AppError('memory') with the setting to change when it does not fit. */
export function planTrainer(model: Model, run: PlannedRun, emit: Emit): TrainerSettings {
  const { backend, architecture, config, info } = model
  const plan = planMemory(
    backend,
    { architecture, config, info },
    {
      trained: { kind: 'lora', r: run.lora.r, targets: run.lora.target_modules },
      tokens: run.rowTokens,
      ...(run.rollouts && { rollouts: run.rollouts }),
      limitBytes:
        run.memory_limit_mib === undefined ? DEFAULT_SHARE * backend.freeAtOpen : run.memory_limit_mib * 2 ** 20,
      ownWeights: !model.sharesWeights
    }
  )
  const free = `${(backend.freeAtOpen / 2 ** 20).toFixed(0)} MiB free`
  emit({ kind: 'plan', lines: [`device      ${deviceLine(backend)}, ${free}`, ...printPlan(plan)] })
  return requirePlan(plan).settings
}
