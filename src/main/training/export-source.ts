/** What of a run is handed over: its recipe, and the file that was trained, at the end or in a checkpoint. */
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { basename, dirname, join, relative } from 'node:path'
import { AppError } from '../../shared/errors.ts'
import type { FinetuningType, GrpoRecipe, SftRecipe } from '../../shared/recipe.ts'
import { ADAPTER_FILE, MODEL_FILE } from '../../shared/trained-file.ts'
import { parseRecipe } from '../data/prepare/recipe-file.ts'
import { bestCheckpoint, latestCheckpoint } from './checkpoint.ts'

export type TrainingRecipe = SftRecipe | GrpoRecipe

export type Source = {
  readonly path: string
  readonly name: string
  readonly notes: readonly string[]
}

const WHAT: Readonly<Record<FinetuningType, { readonly file: string; readonly word: string }>> = {
  lora: { file: ADAPTER_FILE, word: 'adapter' },
  full: { file: MODEL_FILE, word: 'model' }
}

/** Throws AppError('usage') for a target that holds something. */
export function refuseOccupied(to: string): void {
  if (!existsSync(to)) return
  let names: string[]
  try {
    names = readdirSync(to)
  } catch {
    throw new AppError('usage', `${to} is a file`, 'Name a folder that does not exist yet.')
  }
  if (names.length > 0) throw new AppError('usage', `${to} is not empty`, 'Name a folder that does not exist yet.')
}

/** Throws AppError('usage') where a folder holds no training run. */
export function trainingRecipeOf(runDir: string): TrainingRecipe {
  const path = join(runDir, 'recipe.yaml')
  if (!existsSync(path)) throw new AppError('usage', `${runDir} is not the folder of a run: it has no recipe.yaml`)
  const { recipe } = parseRecipe(readFileSync(path, 'utf8'), path)
  if (recipe.kind !== 'evaluate') return recipe
  throw new AppError(
    'usage',
    `${runDir} holds an evaluation, which trains nothing`,
    'Name the folder of a training run.'
  )
}

/** What a run trained: the file asked for, else what `finishedOrBest` finds. Throws AppError('usage') where there is none. */
export const sourceOf = (runDir: string, recipe: TrainingRecipe, chosen: string | undefined): Source =>
  chosen === undefined
    ? finishedOrBest(runDir, WHAT[recipe.finetuning_type])
    : chosenFile(runDir, chosen, WHAT[recipe.finetuning_type])

type What = (typeof WHAT)[FinetuningType]

/** What the finished run left; of a run that did not finish, its best checkpoint by held-out score, or its latest. */
function finishedOrBest(runDir: string, { file, word }: What): Source {
  const run = basename(runDir)
  const best = bestCheckpoint(runDir)
  const finished = join(runDir, file)
  if (existsSync(finished)) {
    const notes = best ? [`the best checkpoint by held-out score is of step ${best.manifest.step}: ${best.path}`] : []
    return { path: finished, name: `the ${word} of ${run}`, notes }
  }
  const checkpoint = best ?? latestCheckpoint(runDir).checkpoint
  if (!checkpoint)
    throw new AppError(
      'usage',
      `${runDir} holds neither ${word === 'adapter' ? 'an' : 'a'} ${word} nor a checkpoint`,
      'Let the run reach its first checkpoint.'
    )
  const which = best ? 'best' : 'latest'
  return {
    path: join(checkpoint.path, file),
    name: `the ${which} checkpoint of ${run}, step ${checkpoint.manifest.step}`,
    notes: ['the run is not finished']
  }
}

/** One that was asked for: of the run's folder, or of a checkpoint in it. */
function chosenFile(runDir: string, path: string, { file, word }: What): Source {
  const inside = relative(runDir, path)
  const step = /^checkpoint-(\d+)$/.exec(dirname(inside))?.[1]
  if (basename(inside) !== file || (step === undefined && inside !== file))
    throw new AppError('usage', `${path} is no ${word} of ${runDir}`, 'Name one that lies in the folder of the run.')
  if (!existsSync(path)) throw new AppError('usage', `there is no such file: ${path}`, 'Look at the run again.')
  const run = basename(runDir)
  const name = step === undefined ? `the ${word} of ${run}` : `the checkpoint of ${run}, step ${step}`
  return { path, name, notes: [] }
}
