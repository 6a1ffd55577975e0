/**
 * The frame of a run: its log, its checkpoints by step and by wall time, the non-finite steps in a row, its end. A recipe
 * calls it between steps and stays a page about training.
 */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { AppError } from '../../shared/errors.ts'
import type { Emit, Metrics, RunEvent } from '../../shared/event.ts'
import { bestCheckpoint, latestCheckpoint, pruneCheckpoints, recipeHash, writeCheckpoint } from './checkpoint.ts'
import type { Checkpoint, CheckpointFiles } from './checkpoint.ts'
import { holdFolder } from '../files/held-folder.ts'
import { writeWholeFile } from '../files/whole-file.ts'
import { onDisk } from './disk.ts'
import { openRunLog } from './run-log.ts'
import { stringify } from 'yaml'

const KEPT_CHECKPOINTS = 3
const NON_FINITE_LIMIT = 3

export type RunOptions = {
  readonly recipe: {
    readonly output_dir: string
    readonly save_steps?: number | undefined
    readonly save_minutes: number
  }
  readonly folder: string
  readonly resume: boolean
  readonly emit: Emit
  readonly signal: AbortSignal
  /** Fires when the run is to end after the step it is in. */
  readonly endAfterStep?: AbortSignal | undefined
}

export type Run = {
  readonly emit: Emit
  /** Where to continue from; undefined for a fresh run. */
  readonly checkpoint: Checkpoint | undefined
  /**
   * Runs a step's work. When the user cancels in the middle of it, what the step did so far is forgotten and the state
   * before it is saved: `files` must describe that state.
   */
  attempt<T>(step: number, files: () => CheckpointFiles, work: () => Promise<T>): Promise<T>
  /** Runs what is measured after a step. When the user cancels in the middle, the step is saved; its measure is not. */
  measure<T>(step: number, metrics: Metrics, files: () => CheckpointFiles, work: () => Promise<T>): Promise<T>
  /** Right after a step's update: counts those that were not finite, and throws when they are too many in a row. */
  stepped(step: number, metrics: Metrics, applied: boolean): void
  /** After each step and its measure: saves where that is due; throws when the user cancelled (a checkpoint is written first). */
  afterStep(step: number, metrics: Metrics, files: () => CheckpointFiles, score?: number): void
  /** Writes a checkpoint now. */
  save(step: number, metrics: Metrics, files: () => CheckpointFiles, score?: number): string
  finish(how: Extract<RunEvent, { kind: 'end' }>['how'], reason: string): void
  close(): void
}

/**
 * Opens a run folder. Throws AppError('training') when it holds a run of another recipe, AppError('disk') while another
 * process writes it.
 */
export function openRun(options: RunOptions): Run {
  const release = onDisk(`opening ${options.folder}`, () => holdFolder(options.folder))
  try {
    return openHeld(options, release)
  } catch (error) {
    release()
    throw error
  }
}

function openHeld({ recipe, folder, resume, emit: tell, signal, endAfterStep }: RunOptions, release: () => void): Run {
  const { output_dir: _, ...content } = recipe // a run may be moved
  const hash = recipeHash(content)
  const { checkpoint, skipped } = resume ? latestCheckpoint(folder) : { checkpoint: undefined, skipped: [] }
  if (checkpoint && checkpoint.manifest.recipeHash !== hash) {
    throw new AppError(
      'training',
      `${folder} holds a run of another recipe`,
      'Resume with the recipe it was started with, or choose another output_dir.'
    )
  }
  keepRecipe(folder, recipe)
  const log = openRunLog(folder, checkpoint ? { resume: { bytes: checkpoint.manifest.logBytes } } : {})
  const emit: Emit = (event) => {
    log.emit(event)
    tell(event)
  }
  for (const { path, why } of skipped) emit({ kind: 'log', level: 'warn', text: `${path} is not used: ${why}` })
  let savedAt = Date.now()
  let savedStep = checkpoint?.manifest.step ?? 0
  let lastMetrics: Metrics = {}
  let nonFinite = checkpoint?.manifest.nonFinite ?? 0

  const save: Run['save'] = (step, metrics, files, score) => {
    const about = {
      step,
      recipeHash: hash,
      logBytes: log.mark(),
      metrics,
      ...(nonFinite > 0 && { nonFinite }),
      ...(score !== undefined && { score })
    }
    const path = writeCheckpoint(folder, about, files())
    pruneCheckpoints(folder, KEPT_CHECKPOINTS)
    savedAt = Date.now()
    savedStep = step
    emit({ kind: 'checkpoint', step, path })
    return path
  }
  /** Cancelled work leaves the state of `step`, which is saved unless it is already. */
  const savingOnCancel = async <T>(
    { step, metrics, words }: { step: number; metrics: Metrics; words: string },
    files: () => CheckpointFiles,
    work: () => Promise<T>
  ): Promise<T> => {
    try {
      return await work()
    } catch (error) {
      if (!(error instanceof AppError) || error.code !== 'cancelled') throw error
      if (savedStep < step) save(step, metrics, files)
      throw new AppError('cancelled', words)
    }
  }
  return {
    emit,
    checkpoint,
    save,
    attempt: (step, files, work) => {
      const words = `stopped in step ${step}; everything before it is saved`
      return savingOnCancel({ step: step - 1, metrics: lastMetrics, words }, files, work)
    },
    measure: (step, metrics, files, work) => {
      const words = `stopped after step ${step}; everything up to it is saved`
      return savingOnCancel({ step, metrics, words }, files, work)
    },
    stepped: (step, metrics, applied) => {
      lastMetrics = metrics
      nonFinite = applied ? 0 : nonFinite + 1
      if (!applied)
        emit({
          kind: 'log',
          level: 'warn',
          text: `step ${step}: the gradient was not finite; the step was skipped (${nonFinite} in a row)`
        })
      if (nonFinite >= NON_FINITE_LIMIT) {
        throw new AppError(
          'training',
          `${NON_FINITE_LIMIT} steps in a row had a loss or gradient that is not finite`,
          `The last good checkpoint is ${bestOrLatest(folder)}; lower the learning rate and start from it.`
        )
      }
    },
    afterStep: (step, metrics, files, score) => {
      const bySteps = recipe.save_steps !== undefined && step % recipe.save_steps === 0
      const byClock = Date.now() - savedAt > recipe.save_minutes * 60_000
      const asked = signal.aborted || endAfterStep?.aborted === true
      if (asked || (nonFinite === 0 && (bySteps || byClock || score !== undefined))) save(step, metrics, files, score)
      if (asked) throw new AppError('cancelled', `stopped after step ${step}; everything up to it is saved`)
    },
    finish: (how, reason) => emit({ kind: 'end', how, reason }),
    close: () => {
      log.close()
      release()
    }
  }
}

/** A run that is killed here must find its recipe whole when it goes on. */
const keepRecipe = (folder: string, recipe: unknown): void =>
  writeWholeFile(join(folder, 'recipe.yaml'), (path) => writeFileSync(path, stringify(recipe)))

function bestOrLatest(folder: string): string {
  return (bestCheckpoint(folder) ?? latestCheckpoint(folder).checkpoint)?.path ?? 'none'
}
