/** Recipes as a form and as YAML. */
import { readFileSync, statSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import { isScalar, parseDocument, visit } from 'yaml'
import { AppError } from '../../shared/errors.ts'
import type { Calls } from './calls.ts'
import type { Host } from './host.ts'
import { editRecipe } from './recipe-edit.ts'
import { checkRecipe, issuesOf, writtenSettings } from './recipe-text.ts'
import { recipeFields } from './recipe-fields.ts'
import { presets } from './recipe-presets.ts'
import { recipePlanner } from './recipe-plan.ts'

const KINDS: ReadonlySet<unknown> = new Set(['sft', 'grpo', 'evaluate'])

export function recipeCalls(host: Host): Calls<'recipes'> {
  const { workspace } = host.options
  const plan = recipePlanner(host)
  return {
    fields: ({ kind }) => [...recipeFields(kind)],
    presets: () => presets(host),
    check: async ({ yaml }) => {
      const values = writtenSettings(yaml)
      const kind = KINDS.has(values?.['kind']) ? (values!['kind'] as 'sft' | 'grpo' | 'evaluate') : null
      try {
        await checkRecipe(yaml, workspace, host.at('runs', 'new'))
        return { kind, values, issues: [] }
      } catch (error) {
        return { kind, values, issues: issuesOf(error, workspace) }
      }
    },
    open: ({ path }) => ({ yaml: opened(path) }),
    edit: ({ yaml, path, value }) => ({ yaml: editRecipe(yaml, path.split('.'), value) }),
    plan: ({ yaml }, signal) => plan(yaml, signal)
  }
}

const MOST_BYTES = 2 ** 20
const FILE_KEYS: ReadonlySet<unknown> = new Set(['base', 'adapter', 'train', 'held_out', 'file', 'output_dir'])

/** A recipe's paths are relative to its file; in the app's editor they would be to the workspace. */
function opened(path: string): string {
  const stat = statSync(path, { throwIfNoEntry: false })
  if (stat?.isFile() !== true) throw new AppError('recipe', `no such file: ${path}`, 'Choose another.')
  if (stat.size > MOST_BYTES) throw new AppError('recipe', `${path} is too large for a recipe`, 'Choose another.')
  const text = readFileSync(path, 'utf8')
  const document = parseDocument(text)
  if (document.errors.length > 0) return text // the editor shows what is wrong
  visit(document, {
    Pair: (_, { key, value }) => {
      if (isScalar(key) && FILE_KEYS.has(key.value) && isScalar(value) && typeof value.value === 'string')
        value.value = resolve(dirname(path), value.value)
    }
  })
  return document.toString({ lineWidth: 0 })
}
