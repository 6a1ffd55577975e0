/** What a model card says of where an adapter comes from: the base, the data, the scores. Read from files, never guessed. */
import { createHash } from 'node:crypto'
import { createReadStream, existsSync, statSync } from 'node:fs'
import { basename, join, resolve } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { AppError } from '../../shared/errors.ts'
import type { Metrics } from '../../shared/event.ts'
import type { GrpoRecipe, SftRecipe, TaskSource } from '../../shared/recipe.ts'
import { reportData } from '../evaluation/report.ts'
import { summarise } from '../evaluation/report/summary.ts'
import type { HeadlineRow } from '../evaluation/report/summary.ts'
import { composedReport, RECIPE_FILE } from '../evaluation/run-files.ts'
import { readRunLog } from './run-log.ts'

export type FileFacts = {
  readonly name: string
  readonly bytes: number
  readonly sha256: string
  readonly lines: number
}

/** A file that was trained on, or a generated family; `facts` null when the file is no longer where the recipe says. */
export type DataFacts =
  | { readonly role: string; readonly name: string; readonly facts: FileFacts | null }
  | { readonly role: string; readonly family: Extract<TaskSource, { family: string }> }

export type ScoreFacts = {
  /** Name of the folder with the evaluation. */
  readonly from: string
  readonly rows: readonly HeadlineRow[]
  /** The stage whose adapter or model is the one exported, where the evaluation names it. */
  readonly own: string | undefined
}

/** Hash and number of non-empty lines, streamed. */
export async function fileFacts(path: string): Promise<FileFacts> {
  const hash = createHash('sha256')
  let lines = 0
  let filled = false
  const count = (chunk: Uint8Array): void => {
    hash.update(chunk)
    for (const byte of chunk) {
      if (byte === 10) {
        lines += Number(filled)
        filled = false
      } else if (byte > 32) filled = true
    }
  }
  await pipeline(createReadStream(path), async (chunks: AsyncIterable<Uint8Array>) => {
    for await (const chunk of chunks) count(chunk)
  })
  return { name: basename(path), bytes: statSync(path).size, sha256: hash.digest('hex'), lines: lines + Number(filled) }
}

/** The files and families a recipe trains on. */
export async function dataFacts(recipe: SftRecipe | GrpoRecipe): Promise<DataFacts[]> {
  const sources: (readonly [role: string, source: string | TaskSource])[] =
    recipe.kind === 'sft'
      ? [['train', recipe.train], ...(recipe.held_out === undefined ? [] : [['held_out', recipe.held_out] as const])]
      : [...recipe.tasks.map((it) => ['tasks', it] as const), ...recipe.held_out.map((it) => ['held_out', it] as const)]
  return Promise.all(
    sources.map(async ([role, source]) => {
      if (typeof source !== 'string' && 'family' in source) return { role, family: source }
      const path = typeof source === 'string' ? source : source.file
      return { role, name: basename(path), facts: existsSync(path) ? await fileFacts(path) : null }
    })
  )
}

/** The metrics of a run's last evaluation, with its step; undefined where it has none. */
export function lastEvaluation(runDir: string): { step: number; metrics: Metrics } | undefined {
  return readRunLog(runDir).findLast((event) => event.kind === 'evaluation')
}

/**
 * The accuracies that an evaluation, or a job of several runs, measured; `trained`: paths of the adapter or model whose stage is
 * to be named. Throws AppError('usage') where there are none.
 */
export function scoreFacts(folder: string, trained: readonly string[]): ScoreFacts {
  if (!existsSync(folder)) throw new AppError('usage', `no such run: ${folder}`, 'Name the folder of an evaluation.')
  const data = existsSync(join(folder, RECIPE_FILE)) ? reportData(folder) : composedReport(folder)
  if (data === null || data.results.length === 0)
    throw new AppError('usage', `${folder} holds no measured answers`, 'Name the folder of an evaluation that is done.')
  const known = new Set(trained.map((path) => resolve(path)))
  const own = data.stages.find(({ adapter, model }) => {
    const path = adapter ?? model
    return path !== undefined && known.has(resolve(folder, path))
  })
  return { from: basename(folder), rows: summarise(data).headline, own: own?.name }
}
