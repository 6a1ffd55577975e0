/**
 * What a run trains, as files: an adapter (with the rows of tokens trained beside it), or a whole model; and the optimizer's
 * moments. In a checkpoint what is trained has the name that it has in the finished run's folder.
 */
import { closeSync, copyFileSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { ADAPTER_FILE, MODEL_FILE } from '../../shared/trained-file.ts'
import type { Adapter } from '../engine/adapter.ts'
import type { AdamW } from '../engine/optimizer.ts'
import type { Parameters } from '../engine/parameters.ts'
import { readPieces, writeFrom } from '../engine/tensor.ts'
import type { TrainedRows } from '../engine/trained-rows.ts'
import { WholeModel } from '../engine/whole-model.ts'
import { appearsWhole, writePieces } from '../files/whole-file.ts'
import type { Checkpoint, CheckpointFiles } from './checkpoint.ts'
import { ROWS_FILE, saveRows } from './token-rows.ts'

/** What a run hands over: the adapter's path or the model's, and what to tell a person. */
export type Delivered = { readonly adapter?: string; readonly model?: string; readonly lines: readonly string[] }

export type TrainedFiles = {
  /** What a checkpoint keeps of it. */
  kept(): CheckpointFiles
  /** Takes what a checkpoint kept; an adapter was loaded from it already. */
  restore(checkpoint: Checkpoint): void
  /** Writes it into a run's folder: as it is now, or as a checkpoint of the run has it. Throws AppError('disk'). */
  deliver(folder: string, from?: Checkpoint): Promise<Delivered>
  dispose(): void
}

const ofStep = (from?: Checkpoint): string =>
  from ? ` (of step ${from.manifest.step}, the best by held-out score)` : ''

/** An adapter, and rows of single tokens where a recipe trains some. */
export const adapterFiles = (adapter: Adapter, rows: TrainedRows | null, base: string): TrainedFiles => ({
  kept: () => new Map([[ADAPTER_FILE, adapterBytes(adapter)], ...(rows ? ([[ROWS_FILE, rows.dump()]] as const) : [])]),
  restore: (checkpoint) => rows?.restore(checkpoint.read(ROWS_FILE)),
  deliver: async (folder, from) => {
    const path = join(folder, ADAPTER_FILE)
    if (from) rows?.restore(from.read(ROWS_FILE))
    const rowLines = await saveRows(rows, base, folder)
    if (from) copyFileSync(from.file(ADAPTER_FILE), path)
    else adapter.save(path)
    return { adapter: path, lines: [`adapter: ${path}${ofStep(from)}`, ...rowLines] }
  },
  dispose: () => undefined
})

/** Every weight. */
export function modelFiles(parameters: Parameters): TrainedFiles {
  const model = new WholeModel(parameters)
  return {
    kept: () => new Map([[MODEL_FILE, () => model.pieces()]]),
    restore: (checkpoint) => model.restore(checkpoint.file(MODEL_FILE)),
    deliver: async (folder, from) => {
      const path = join(folder, MODEL_FILE)
      await appearsWhole(path, (temporary) =>
        Promise.resolve(from ? copyFileSync(from.file(MODEL_FILE), temporary) : writePieces(temporary, model.pieces()))
      )
      return { model: path, lines: [`model: ${path}${ofStep(from)}`] }
    },
    dispose: () => model.dispose()
  }
}

function adapterBytes(adapter: Adapter): Uint8Array {
  const folder = mkdtempSync(join(tmpdir(), 'reasonsmith-'))
  try {
    adapter.save(join(folder, ADAPTER_FILE))
    return readFileSync(join(folder, ADAPTER_FILE))
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

const OPTIMIZER_FILE = 'optimizer.bin'
const STATE_FILE = 'state.json'
const PIECE_BYTES = 8 * 2 ** 20

const momentsOf = ({ list }: Parameters): readonly Parameters['list'][number]['m'][] =>
  list.flatMap(({ m, v }) => [m, v])

/** First and second moments of every parameter in order, and with the count of updates the recipe's own state. */
export const optimizerFiles = (parameters: Parameters, optimizer: AdamW, state: unknown): CheckpointFiles =>
  new Map<string, string | (() => Iterable<Uint8Array>)>([
    [
      OPTIMIZER_FILE,
      function* () {
        for (const moment of momentsOf(parameters)) yield* readPieces(parameters.model.backend, moment, PIECE_BYTES)
      }
    ],
    [STATE_FILE, JSON.stringify({ optimizerSteps: optimizer.steps, state })]
  ])

/** Takes what `optimizerFiles` gave a checkpoint of the same parameters. */
export function restoreOptimizer(parameters: Parameters, optimizer: AdamW, checkpoint: Checkpoint): void {
  const { backend } = parameters.model
  const path = checkpoint.file(OPTIMIZER_FILE)
  const file = openSync(path, 'r')
  try {
    let at = 0
    for (const moment of momentsOf(parameters)) {
      writeFrom(backend, moment, file, at, path, PIECE_BYTES)
      at += backend.native.ggml.nbytes(moment.ptr)
    }
  } finally {
    closeSync(file)
  }
  optimizer.steps = stateIn<{ optimizerSteps: number }>(checkpoint).optimizerSteps
}

const stateIn = <T>(checkpoint: Checkpoint): T => JSON.parse(checkpoint.read(STATE_FILE).toString()) as T

/** The recipe's own state, as it was given to `optimizerFiles`. */
export const stateOf = <T>(checkpoint: Checkpoint): T => stateIn<{ state: T }>(checkpoint).state
