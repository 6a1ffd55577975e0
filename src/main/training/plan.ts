/** How a recipe uses memory, decided before anything runs and said in the run's first lines. */
import { AppError } from '../../shared/errors.ts'
import type { Emit } from '../../shared/event.ts'
import type {
  CacheType,
  FinetuningType,
  GrpoRecipe,
  LoraSettings,
  SftRecipe,
  TargetModule
} from '../../shared/recipe.ts'
import { architectureOf } from '../engine/arch/index.ts'
import { modulesOf, targetModules } from '../engine/arch/targets.ts'
import type { Backend } from '../engine/backend.ts'
import { requireCache } from '../engine/cache-types.ts'
import { readGguf } from '../engine/gguf.ts'
import { planMemory } from '../engine/memory.ts'
import type { Plan, PlannedRollouts } from '../engine/memory-plan.ts'
import { printPlan, requirePlan } from '../engine/memory-words.ts'
import { deviceLine } from '../engine/open-device.ts'
import type { PlannedTraining } from '../engine/layer-scratch.ts'
import type { Model } from '../engine/model.ts'
import { isPeftFolder, peftRank } from '../engine/peft.ts'
import { requireTrainable } from '../engine/whole-model.ts'
import {
  cacheBytes,
  cacheWithin,
  comfortableWidth,
  decodingBytes,
  hostLimit,
  memoryLimit,
  widest,
  widthWithin
} from '../engine/sampling-memory.ts'

export type PlannedRun = {
  /** What the run starts from, where it starts from an adapter. */
  readonly adapter?: string | undefined
  readonly memory_limit_mib?: number | undefined
  readonly cache_type?: CacheType | undefined
  /** Tokens of a packed row. */
  readonly rowTokens: number
  readonly rollouts?: PlannedRollouts
  readonly lora?: Pick<LoraSettings, 'trainable_token_indices'>
}

/** What a plan needs of a model: nothing that is loaded. */
export type PlannedModel = Pick<Model, 'backend' | 'architecture' | 'config' | 'info' | 'sharesWeights'>

/** What an SFT run plans for. */
export const sftRun = (recipe: SftRecipe): PlannedRun => ({ ...recipe, rowTokens: Math.max(1024, recipe.max_length) })

/** What a GRPO run plans for; the rollouts' width is the recipe's, else at most what is comfortable on this device. */
export function grpoRun(
  recipe: GrpoRecipe,
  model: Pick<Model, 'backend' | 'config'>
): PlannedRun & { readonly rollouts: NonNullable<PlannedRun['rollouts']> } {
  const contextTokens = recipe.max_prompt_length + recipe.max_completion_length
  const rollouts = recipe.prompts_per_step * recipe.num_generations
  const one = { contextTokens, cacheType: recipe.cache_type }
  const width = recipe.rollout_width ?? comfortableWidth(model, one, rollouts, recipe.memory_limit_mib)
  return {
    ...recipe,
    rowTokens: Math.max(1024, contextTokens),
    rollouts: {
      ...one,
      width,
      promptTokens: recipe.max_prompt_length,
      fixedWidth: recipe.rollout_width !== undefined
    }
  }
}

/** The base as its header says it is. Throws AppError('model') for one that cannot be trained. */
export async function plannedModel(base: string, backend: Backend): Promise<PlannedModel> {
  const info = await readGguf(base)
  return { backend, info, ...architectureOf(info), sharesWeights: backend.native.internal !== null }
}

type TrainedRecipe = {
  readonly adapter?: string | undefined
  readonly lora: LoraSettings
  readonly finetuning_type?: FinetuningType
}

/**
 * What a recipe trains, from headers: every weight, where the base allows it; or an adapter with rank and targets of the adapter it starts from, else the recipe's; `note` says where
 * that is more than the run will take. Throws AppError('model') for a base whose weights cannot be trained.
 */
export async function trainedBy(
  base: PlannedModel,
  { adapter, lora, finetuning_type = 'lora' }: TrainedRecipe
): Promise<{ trained: PlannedTraining; note: readonly string[] }> {
  if (finetuning_type === 'full') {
    requireTrainable(base)
    return { trained: { kind: 'full' }, note: [] }
  }
  const { architecture } = base
  if (adapter === undefined)
    return { trained: { kind: 'lora', r: lora.r, targets: targetModules(architecture, lora.target_modules) }, note: [] }
  const all = modulesOf(architecture)
  if (isPeftFolder(adapter)) {
    const note = ['planned as if the folder’s adapter changed every linear layer']
    return { trained: { kind: 'lora', r: peftRank(adapter), targets: all }, note }
  }
  const tensors = [...(await readGguf(adapter)).tensors]
  const r = tensors.find(([name]) => name.endsWith('.lora_a'))?.[1].ne[1] ?? lora.r
  const changed = (module: TargetModule): boolean =>
    tensors.some(([name]) => name.endsWith(`.${architecture.linears[architecture.targets[module]!]}.lora_a`))
  return { trained: { kind: 'lora', r, targets: all.filter(changed) }, note: [] }
}

/** Emits the plan and returns it. Throws AppError('memory') with the setting to change when it does not fit. */
export function planTrainer(model: PlannedModel, trained: PlannedTraining, run: PlannedRun, emit: Emit): Plan {
  const { backend } = model
  const plan = planOf(model, trained, run)
  const free = `${(backend.freeAtOpen / 2 ** 20).toFixed(0)} MiB free`
  emit({ kind: 'plan', lines: [`device      ${deviceLine(backend)}, ${free}`, ...printPlan(plan)] })
  const { settings, ...rest } = requirePlan(plan)
  return { ...rest, settings: { ...settings, contextTokens: run.rollouts?.contextTokens ?? run.rowTokens } }
}

/** The plan of a run; computes and loads nothing. Throws AppError('recipe') where its cache cannot hold the base's heads. */
export function planOf(model: PlannedModel, trained: PlannedTraining, run: PlannedRun): Plan {
  const { backend, architecture, config, info } = model
  if (run.cache_type) requireCache(config.headDim, run.cache_type)
  return planMemory(
    backend,
    { architecture, config, info },
    {
      trained:
        trained.kind === 'lora' ? { ...trained, tokenRows: run.lora?.trainable_token_indices.length ?? 0 } : trained,
      tokens: run.rowTokens,
      ...(run.rollouts && { rollouts: run.rollouts }),
      limitBytes: memoryLimit(backend, run.memory_limit_mib),
      ...(backend.ownsMemory && { hostLimitBytes: hostLimit() }),
      givenAdapter: run.adapter !== undefined,
      ownWeights: !model.sharesWeights
    }
  )
}

/** How an evaluation between steps samples. */
export type PlannedAnswers = { readonly width: number; readonly cacheType: CacheType }

/**
 * How many answers an evaluation samples at once between steps, in the room that is there once the trainer has released its
 * activations, and how it keeps keys and values: as asked, else what fits. Throws AppError('memory') when not even one does.
 */
export function planAnswers(
  { backend, config }: Model,
  { heldBytes, limitBytes }: Plan,
  answers: { readonly count: number; readonly contextTokens: number; readonly cacheType?: CacheType | undefined },
  emit: Emit
): PlannedAnswers {
  const room = limitBytes - heldBytes
  const { count, contextTokens } = answers
  const cacheType = answers.cacheType ?? cacheWithin(config, contextTokens, room)
  const width = Math.min(count, widest(backend), widthWithin(config, { contextTokens, cacheType }, room))
  const one = { contextTokens, cacheType, width: Math.max(1, width) }
  const bytes = cacheBytes(config, one) + decodingBytes(config, one.width)
  const mib = (value: number): string => (value / 2 ** 20).toFixed(1)
  if (width < 1) {
    throw new AppError(
      'memory',
      `an evaluation needs ${mib(bytes)} MiB to sample one answer of ${contextTokens} tokens, ${mib(room)} MiB are left beside what training holds`,
      'Lower max_completion_length, or set eval_samples: 0.'
    )
  }
  const text = `evaluations sample ${width} answers at once, keys and values in ${cacheType}, in ${mib(bytes)} MiB, while the ${mib(room)} MiB of activations and what is spare are free`
  emit({ kind: 'log', level: 'info', text })
  return { width, cacheType }
}
