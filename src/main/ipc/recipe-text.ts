/** A recipe as the app's editor holds it: checked like a file of the workspace, its problems as lines and columns. */
import { join } from 'node:path'
import { isMap, parseDocument } from 'yaml'
import { AppError } from '../../shared/errors.ts'
import type { Issue } from '../../shared/contract/call.ts'
import { readBaseFacts } from '../data/models/base-facts.ts'
import { checkedRecipe, refuseImpossible } from '../data/prepare/recipe-file.ts'
import type { RecipeFile } from '../data/prepare/recipe-file.ts'

const FILE = 'recipe.yaml'

/**
 * Checks a recipe as `reasonsmith sft` would, the base's header included. Paths are relative to the workspace. Where it
 * names no output_dir it gets `folder`. Throws AppError('recipe') with one line a problem, see `issuesOf`.
 */
export async function checkRecipe(yaml: string, workspace: string, folder: string): Promise<RecipeFile> {
  const read = checkedRecipe(withFolder(yaml, folder), join(workspace, FILE))
  refuseImpossible(read, await readBaseFacts(read.recipe.base))
  return read
}

/** The settings as they are written; null where the text is no map of settings. */
export function writtenSettings(yaml: string): Record<string, unknown> | null {
  const document = parseDocument(yaml)
  if (document.errors.length > 0 || !isMap(document.contents)) return null
  return document.toJS() as Record<string, unknown>
}

/** Added at the end, so that no line before it moves. */
function withFolder(yaml: string, folder: string): string {
  const document = parseDocument(yaml)
  if (!isMap(document.contents) || document.has('output_dir')) return yaml
  if (document.contents.flow !== true) return `${yaml.replace(/\n*$/, '\n')}output_dir: ${JSON.stringify(folder)}\n`
  document.set('output_dir', folder)
  return document.toString()
}

/** The lines of a refusal as issues: `file:3: optimizer.learning_rate: -1: must be more than 0`. */
export function issuesOf(error: unknown, workspace: string): Issue[] {
  if (!(error instanceof AppError)) throw error
  const file = join(workspace, FILE)
  return error.message.split('\n').map((text) => {
    const rest = text.startsWith(`${file}:`) ? text.slice(file.length + 1) : null
    const found = rest === null ? null : /^(\d+): (.*)$/s.exec(rest)
    if (found === null) return { message: text, ...(error.code === 'model' && { path: 'base' }) }
    const path = /^([a-z_]+(?:\[\d+\]|\.[a-z_]+)*): /.exec(found[2]!)?.[1]
    const message = path === undefined ? found[2]! : found[2]!.slice(path.length + 2)
    return {
      message,
      line: Number(found[1]),
      ...(path !== undefined && { path: path.replaceAll(/\[(\d+)\]/g, '.$1') })
    }
  })
}
