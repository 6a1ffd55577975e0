/** The folder of a run as the host sees it: the recipe it was started with, and whether something is in it already. */
import { existsSync, mkdirSync, readdirSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { stringify } from 'yaml'
import { AppError } from '../../../shared/errors.ts'
import { effectiveSettings } from '../../../shared/recipe.ts'
import type { Recipe } from '../../../shared/recipe.ts'
import type { RecipeFile } from './recipe-file.ts'
import { readRecipeFile } from './recipe-file.ts'
import { holderOf, isMark } from '../../files/held-folder.ts'
import { writeWholeFiles } from '../../files/whole-file.ts'

const RECIPE = 'recipe.yaml'
/** What a run that got nowhere leaves behind; a new one may replace it. */
const REPLACEABLE: ReadonlySet<string> = new Set([RECIPE, 'run.json', 'events.jsonl', 'tensorboard', 'left-out.jsonl'])

/** Whether a folder holds somebody's work, or a run that is at it now and has nothing to show yet. */
export const occupied = (folder: string): boolean =>
  existsSync(folder) &&
  (holderOf(folder) !== undefined || readdirSync(folder).some((name) => !REPLACEABLE.has(name) && !isMark(name)))

/** Refuses, at the recipe's own line, an output_dir that already holds somebody's work. */
export function refuseOccupied({ recipe, refuse }: RecipeFile): void {
  const folder = recipe.output_dir
  if (!occupied(folder)) return
  const holder = holderOf(folder)
  const allowed =
    holder !== undefined
      ? `is being written by process ${holder.pid}; wait for it or name another folder`
      : existsSync(join(folder, RECIPE))
        ? `already holds a run; continue it with "reasonsmith resume ${shown(folder)}" or name another folder`
        : 'must be a new or an empty folder'
  throw refuse([{ path: ['output_dir'], value: folder, allowed }])
}

/** Makes the folder and keeps the recipe in it, complete and with absolute paths, so that `resume` needs nothing else. */
export function keepRecipe(recipe: Recipe): void {
  mkdirSync(recipe.output_dir, { recursive: true })
  const text = `# The recipe of this run, every default written out.\n${stringify(effectiveSettings(recipe))}`
  writeWholeFiles(new Map([[join(recipe.output_dir, RECIPE), text]]))
}

/** The recipe a run was started with. */
export function recipeOfRun(run: string): RecipeFile {
  const path = join(existingRun(run), RECIPE)
  if (!existsSync(path)) {
    throw new AppError('usage', `${run} is not the folder of a run: it has no ${RECIPE}`, 'name a recipe’s output_dir')
  }
  return readRecipeFile(path)
}

/** The absolute path of a run's folder, which must be there. */
export function existingRun(run: string): string {
  if (!existsSync(run)) throw new AppError('usage', `no such run: ${run}`, 'name a recipe’s output_dir')
  return resolve(run)
}

/** A path as it can be pasted into a shell. */
export const shown = (path: string): string =>
  /^[\w./@%+=:,-]+$/.test(path) ? path : `'${path.replaceAll("'", `'\\''`)}'`
