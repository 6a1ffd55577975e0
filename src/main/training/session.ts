/** What a recipe trains with: device, base, adapter or every weight, trainer, optimizer; and their state in and out of a checkpoint. */
import type { Emit } from '../../shared/event.ts'
import { ADAPTER_FILE } from '../../shared/trained-file.ts'
import type { Device, FinetuningType, LoraSettings, OptimizerSettings } from '../../shared/recipe.ts'
import { Held } from '../engine/ffi/owned.ts'
import { createAdapter, loadAdapter } from '../engine/adapter.ts'
import type { Adapter } from '../engine/adapter.ts'
import type { Backend } from '../engine/backend.ts'
import { loadModel } from '../engine/model.ts'
import type { Model } from '../engine/model.ts'
import type { PlannedTraining } from '../engine/layer-scratch.ts'
import type { Plan, PlannedSampling } from '../engine/memory-plan.ts'
import { openDevice } from '../engine/open-device.ts'
import { AdamW } from '../engine/optimizer.ts'
import { Parameters } from '../engine/parameters.ts'
import { resumedThreads } from '../engine/threads.ts'
import { elements } from '../engine/tensor.ts'
import { Trainer } from '../engine/trainer.ts'
import { dialogueOf } from '../policy/dialogue.ts'
import type { Dialogue } from '../policy/dialogue.ts'
import type { Checkpoint, CheckpointFiles } from './checkpoint.ts'
import { plannedModel, trainedBy } from './plan.ts'
import type { PlannedModel } from './plan.ts'
import { tokenIndicesOf } from './token-rows.ts'
import { adapterFiles, modelFiles, optimizerFiles, restoreOptimizer } from './trained-files.ts'
import type { TrainedFiles } from './trained-files.ts'

export type SessionRecipe = {
  readonly base: string
  readonly finetuning_type: FinetuningType
  readonly adapter?: string | undefined
  readonly seed: number
  readonly device: Device
  readonly threads?: number | undefined
  /** How rollouts are sampled, where any are: the trainer's numbers are of the policy under the same temperature. */
  readonly sampling?: { readonly temperature: number }
  readonly lora: LoraSettings
  readonly optimizer: OptimizerSettings
}

/** Plans from the headers of base and adapter, before either is loaded. Throws AppError('memory') when nothing fits. */
export type PlanFirst = (model: PlannedModel, trained: PlannedTraining) => RunPlan

/** What a run is planned with; it keeps it when it is resumed, since other sizes would round differently. */
export type RunPlan = Plan['settings'] &
  Partial<PlannedSampling> & {
    /** What the plan expects at most, where the run computes. Only said; nothing follows from it. */
    readonly peakBytes?: number
  }

export type Session = {
  readonly backend: Backend
  readonly model: Model
  readonly dialogue: Dialogue
  /** What the policy is beside the base; null where every weight is trained: the model itself is the policy then. */
  readonly adapter: Adapter | null
  readonly trainer: Trainer
  readonly optimizer: AdamW
  readonly plan: RunPlan
  /** Parameters, optimizer state and `state` as files of a checkpoint. */
  files(state: unknown): CheckpointFiles
  /** Writes what was trained into the run's folder. */
  readonly deliver: TrainedFiles['deliver']
  dispose(): void
}

/**
 * Opens everything; from a checkpoint, with the parameters and moments it holds, the plan it ran with and, where the recipe
 * names none, its number of threads. What fails leaves nothing open.
 */
export async function openSession(
  recipe: SessionRecipe,
  plan: PlanFirst,
  emit: Emit,
  checkpoint?: Checkpoint
): Promise<Session> {
  const held = new Held()
  try {
    return await openInto(held, recipe, plan, emit, checkpoint)
  } catch (error) {
    held.dispose()
    throw error
  }
}

async function openInto(
  held: Held,
  recipe: SessionRecipe,
  plan: PlanFirst,
  emit: Emit,
  checkpoint: Checkpoint | undefined
): Promise<Session> {
  const earlier = checkpoint ? (JSON.parse(checkpoint.read('plan.json').toString()) as KeptPlan) : undefined
  const warn = (text: string): void => emit({ kind: 'log', level: 'warn', text })
  const threads = resumedThreads(recipe.threads, earlier?.threads, warn)
  const backend = held.own(await openDevice({ device: recipe.device, threads, emit }))
  // before a byte of the weights: a base that has no room is refused with the setting to change
  const sketch = await plannedModel(recipe.base, backend)
  const planned = earlier ?? plan(sketch, (await trainedBy(sketch, recipe)).trained)
  const isFull = recipe.finetuning_type === 'full'
  const trainsRows = recipe.lora.trainable_token_indices.length > 0
  const writable = isFull || trainsRows
  const packed = !writable && planned.transposes === 'cached'
  const model = held.own(await loadModel(recipe.base, backend, { writable, packed }))
  const adapter = isFull ? null : held.own(await startingAdapter(model, recipe, checkpoint))
  const tokenIndices = tokenIndicesOf(model.vocabulary, recipe.lora)
  const { forward, transposes } = planned
  const trains = adapter ? ({ kind: 'adapter', adapter } as const) : ({ kind: 'full' } as const)
  const parameters = held.own(new Parameters(model, trains, { forward, transposes, tokenIndices }))
  const rows = parameters.rows?.trained ?? null
  const trained = held.own(adapter ? adapterFiles(adapter, rows, recipe.base) : modelFiles(parameters))
  const trainer = held.own(new Trainer(parameters, planned, { temperature: recipe.sampling?.temperature ?? 1 }))
  const { optimizer: o } = recipe
  const optimizer = held.own(
    new AdamW(parameters, {
      beta1: o.adam_beta1,
      beta2: o.adam_beta2,
      epsilon: o.adam_epsilon,
      weightDecay: o.weight_decay,
      maxGradNorm: o.max_grad_norm
    })
  )
  if (!adapter) emit({ kind: 'log', level: 'info', text: wholeWords(parameters) })
  if (checkpoint) {
    trained.restore(checkpoint)
    restoreOptimizer(parameters, optimizer, checkpoint)
  }
  return {
    backend,
    model,
    dialogue: dialogueOf(model.vocabulary),
    adapter,
    trainer,
    optimizer,
    plan: planned,
    files: (state) =>
      new Map([
        ...trained.kept(),
        ...optimizerFiles(parameters, optimizer, state),
        ['plan.json', JSON.stringify({ ...planned, threads: backend.threads } satisfies KeptPlan)]
      ]),
    deliver: trained.deliver,
    dispose: () => held.dispose()
  }
}

type KeptPlan = RunPlan & { readonly threads?: number }

function wholeWords({ list }: Parameters): string {
  const weights = list.reduce((sum, { value }) => sum + elements(value), 0)
  const mib = (3 * 4 * weights) / 2 ** 20
  return `all ${weights} weights are trained; with their moments a checkpoint takes ${mib.toFixed(0)} MiB`
}

/** The checkpoint's adapter, the one the recipe starts from, or a new one. */
function startingAdapter(model: Model, recipe: SessionRecipe, checkpoint: Checkpoint | undefined): Promise<Adapter> {
  const start = checkpoint?.file(ADAPTER_FILE) ?? recipe.adapter
  return start === undefined ? createAdapter(model, recipe.lora, recipe.seed) : loadAdapter(model, start)
}
