/** How a recipe uses memory, decided before anything runs and said in the run's first lines. */
import { AppError } from '../../shared/errors.ts'
import type { Emit } from '../../shared/event.ts'
import { modulesOf } from '../engine/arch/targets.ts'
import type { TargetModule } from '../../shared/recipe.ts'
import type { Adapter } from '../engine/adapter.ts'
import { planMemory, printPlan, requirePlan } from '../engine/memory.ts'
import type { Plan, PlanRequest } from '../engine/memory.ts'
import type { Model } from '../engine/model.ts'
import { cacheBytes, decodingBytes, memoryLimit, widest, widthWithin } from '../engine/sampling-memory.ts'

export type PlannedRun = {
  /** What the run starts from, where it starts from an adapter. */
  readonly adapter?: string | undefined
  readonly memory_limit_mib?: number | undefined
  /** Tokens of a packed row. */
  readonly rowTokens: number
  readonly rollouts?: PlanRequest['rollouts']
}

/** Emits the plan and returns it. Throws AppError('memory') with the setting to change when it does not fit. */
export function planTrainer(adapter: Adapter, run: PlannedRun, emit: Emit): Plan {
  const { model } = adapter
  const { backend, architecture, config, info } = model
  const plan = planMemory(
    backend,
    { architecture, config, info },
    {
      trained: { kind: 'lora', r: adapter.r, targets: targetsOf(adapter) },
      tokens: run.rowTokens,
      ...(run.rollouts && { rollouts: run.rollouts }),
      limitBytes: memoryLimit(backend, run.memory_limit_mib),
      givenAdapter: run.adapter !== undefined,
      ownWeights: !model.sharesWeights
    }
  )
  emit({ kind: 'plan', lines: printPlan(plan) })
  const { settings, ...rest } = requirePlan(plan)
  return { ...rest, settings: { ...settings, contextTokens: run.rollouts?.contextTokens ?? run.rowTokens } }
}

/** The projections that an adapter changes, in any layer: one that leaves layers out is planned a little too large. */
function targetsOf({ model: { architecture }, pairs }: Adapter): TargetModule[] {
  return modulesOf(architecture).filter((target) => {
    const name = architecture.linears[architecture.targets[target]!]
    return pairs.some((pair) => pair.target.endsWith(`.${name}`))
  })
}

/**
 * How many answers an evaluation samples at once between steps, in the room that is there once the trainer has released its
 * activations. Throws AppError('memory') when not even one fits.
 */
export function planAnswers(
  { backend, config }: Model,
  { heldBytes, limitBytes }: Plan,
  answers: { readonly count: number; readonly contextTokens: number },
  emit: Emit
): number {
  const room = limitBytes - heldBytes
  const { count, contextTokens } = answers
  const width = Math.min(count, widest(backend), widthWithin(config, { contextTokens }, room))
  const bytes =
    cacheBytes(config, { width: Math.max(1, width), contextTokens }) + decodingBytes(config, Math.max(1, width))
  const mib = (value: number): string => (value / 2 ** 20).toFixed(1)
  if (width < 1) {
    throw new AppError(
      'memory',
      `an evaluation needs ${mib(bytes)} MiB to sample one answer of ${contextTokens} tokens, ${mib(room)} MiB are left beside what training holds`,
      'Lower max_completion_length, or set eval_samples: 0.'
    )
  }
  const text = `evaluations sample ${width} answers at once in ${mib(bytes)} MiB, while the ${mib(room)} MiB of activations and what is spare are free`
  emit({ kind: 'log', level: 'info', text })
  return width
}
