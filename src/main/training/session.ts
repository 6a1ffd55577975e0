/** What a recipe trains with: device, base, adapter, trainer, optimizer; and their state in and out of a checkpoint. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Emit } from '../../shared/event.ts'
import type { Device, LoraSettings, OptimizerSettings } from '../../shared/recipe.ts'
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
import { readF32, write } from '../engine/tensor.ts'
import type { TrainedRows } from '../engine/trained-rows.ts'
import { Trainer } from '../engine/trainer.ts'
import { dialogueOf } from '../policy/dialogue.ts'
import type { Dialogue } from '../policy/dialogue.ts'
import type { Checkpoint, CheckpointFiles } from './checkpoint.ts'
import { plannedModel, trainedBy } from './plan.ts'
import type { PlannedModel } from './plan.ts'
import { ROWS_FILE, tokenIndicesOf } from './token-rows.ts'

export type SessionRecipe = {
  readonly base: string
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
  readonly adapter: Adapter
  /** Rows of tokens that are trained with it; null when there are none. */
  readonly rows: TrainedRows | null
  readonly trainer: Trainer
  readonly optimizer: AdamW
  readonly plan: RunPlan
  /** Parameters, optimizer state and `state` as files of a checkpoint. */
  files(state: unknown): CheckpointFiles
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
  const trainsRows = recipe.lora.trainable_token_indices.length > 0
  const model = held.own(
    await loadModel(recipe.base, backend, {
      writable: trainsRows,
      packed: !trainsRows && planned.transposes === 'cached'
    })
  )
  const tokenIndices = tokenIndicesOf(model.vocabulary, recipe.lora)
  const start = checkpoint ? join(checkpoint.path, 'adapter.gguf') : recipe.adapter
  const adapter = held.own(
    start === undefined ? await createAdapter(model, recipe.lora, recipe.seed) : await loadAdapter(model, start)
  )
  const { forward, transposes } = planned
  const parameters = held.own(
    new Parameters(model, { kind: 'adapter', adapter }, { forward, transposes, tokenIndices })
  )
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
  const rows = parameters.rows?.trained ?? null
  if (checkpoint) {
    rows?.restore(checkpoint.read(ROWS_FILE))
    restoreOptimizer(parameters, optimizer, checkpoint)
  }
  return {
    backend,
    model,
    dialogue: dialogueOf(model.vocabulary),
    adapter,
    rows,
    trainer,
    optimizer,
    plan: planned,
    files: (state) =>
      new Map<string, Uint8Array | string>([
        ['adapter.gguf', adapterBytes(adapter)],
        ...(rows ? ([[ROWS_FILE, rows.dump()]] as const) : []),
        ['optimizer.bin', optimizerBytes(parameters)],
        ['plan.json', JSON.stringify({ ...planned, threads: backend.threads } satisfies KeptPlan)],
        ['state.json', JSON.stringify({ optimizerSteps: optimizer.steps, state })]
      ]),
    dispose: () => held.dispose()
  }
}

type KeptPlan = RunPlan & { readonly threads?: number }

/** The recipe's own state, as it was given to `files`. */
export function stateOf<T>(checkpoint: Checkpoint): T {
  return (JSON.parse(checkpoint.read('state.json').toString()) as { state: T }).state
}

function adapterBytes(adapter: Adapter): Uint8Array {
  const folder = mkdtempSync(join(tmpdir(), 'reasonsmith-'))
  try {
    adapter.save(join(folder, 'adapter.gguf'))
    return readFileSync(join(folder, 'adapter.gguf'))
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

/** First and second moments of every parameter, in order. */
function optimizerBytes(parameters: Parameters): Uint8Array {
  const { backend } = parameters.model
  return Buffer.concat(
    parameters.list
      .flatMap(({ m, v }) => [m, v])
      .map((moment) => {
        const values = readF32(backend, moment)
        return new Uint8Array(values.buffer, values.byteOffset, values.byteLength)
      })
  )
}

function restoreOptimizer(parameters: Parameters, optimizer: AdamW, checkpoint: Checkpoint): void {
  const bytes = checkpoint.read('optimizer.bin')
  let at = 0
  for (const { m, v } of parameters.list) {
    for (const moment of [m, v]) {
      const size = parameters.model.backend.native.ggml.nbytes(moment.ptr)
      write(parameters.model.backend, moment, bytes.subarray(at, at + size))
      at += size
    }
  }
  optimizer.steps = (JSON.parse(checkpoint.read('state.json').toString()) as { optimizerSteps: number }).optimizerSteps
}
