/**
 * Reads a YAML recipe: parsed, checked by the schema of its kind, paths made absolute against the file's folder. Every
 * problem is reported at once as `FILE:LINE: key: value: what is allowed`, before any model is opened.
 */
import { readFileSync, statSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { isMap, isScalar, LineCounter, parseDocument } from 'yaml'
import type { Document, Pair } from 'yaml'
import { AppError } from '../../../shared/errors.ts'
import { EvaluateRecipe, GrpoRecipe, Recipe, SftRecipe } from '../../../shared/recipe.ts'
import { DISK_ERRORS } from '../../files/disk-errors.ts'
import { crossCheck } from './recipe-checks.ts'
import type { BaseFacts } from './recipe-checks.ts'
import { keyName, problemsOf } from './recipe-problems.ts'
import type { KeyPath, Problem } from './recipe-problems.ts'

export type RecipeFile = {
  readonly recipe: Recipe
  /** The error that names these problems with their lines, for checks made after reading. */
  readonly refuse: (problems: readonly Problem[]) => AppError
}

const SCHEMAS = { sft: SftRecipe, grpo: GrpoRecipe, evaluate: EvaluateRecipe } as const
/** Keys whose text names a file that must be there, and one that names a folder to be made. */
const FILE_KEYS: ReadonlySet<string> = new Set(['base', 'adapter', 'train', 'held_out', 'file'])
const FOLDER_KEY = 'output_dir'
/** A folder with this file is an adapter too: PEFT's. */
const PEFT_CONFIG = 'adapter_config.json'

export const isPeftAdapter = (path: string): boolean =>
  statSync(join(path, PEFT_CONFIG), { throwIfNoEntry: false })?.isFile() ?? false

/** Reads and checks a recipe file whose `kind` must be `expected`; throws one AppError that lists every problem. */
export function readRecipeFile(file: string, expected?: Recipe['kind']): RecipeFile {
  let text: string
  try {
    text = readFileSync(file, 'utf8')
  } catch (cause) {
    const { code = '', message } = cause as NodeJS.ErrnoException
    throw new AppError('recipe', `cannot read the recipe ${file}: ${DISK_ERRORS[code] ?? message}`, undefined, {
      cause
    })
  }
  return checkedRecipe(text, file, expected)
}

/** Parses and validates the text of a recipe and looks for the files it names, relative to the folder of `file`. */
export function checkedRecipe(text: string, file: string, expected?: Recipe['kind']): RecipeFile {
  const parsed = parseRecipe(text, file, expected)
  const missing = missingFiles(parsed.recipe)
  if (missing.length > 0) throw parsed.refuse(missing)
  return parsed
}

/** Throws when the recipe breaks a rule between its keys or cannot run on this base. */
export function refuseImpossible({ recipe, refuse }: RecipeFile, base: BaseFacts): void {
  const problems = crossCheck(recipe, base)
  if (problems.length > 0) throw refuse(problems)
}

/** Parses and validates the text of a recipe; looks at no file. */
export function parseRecipe(text: string, file: string, expected?: Recipe['kind']): RecipeFile {
  const lines = new LineCounter()
  const document = parseDocument(text, { lineCounter: lines })
  const refuse = (problems: readonly Problem[]): AppError =>
    refusal(problems.map((problem) => `${file}:${lineOf(document, lines, problem.path)}: ${sentence(problem)}`))

  if (document.errors.length > 0) throw refusal(document.errors.map((error) => yamlError(file, error)))
  const value: unknown = document.toJS()
  if (!isMap(document.contents)) throw refusal([`${file}:1: the file is empty or not a list of "key: value" lines`])
  const kind = (value as { kind?: unknown }).kind
  if (expected !== undefined && kind !== undefined && kind !== expected) {
    throw refuse([{ path: ['kind'], value: kind, allowed: `must be ${expected} for this command` }])
  }
  const schema = Object.hasOwn(SCHEMAS, String(kind)) ? SCHEMAS[kind as Recipe['kind']] : Recipe
  const checked = schema.safeParse(value)
  if (!checked.success) throw refuse(problemsOf(schema, value, checked.error))
  const broken = crossCheck(checked.data)
  if (broken.length > 0) throw refuse(broken)
  return { recipe: withAbsolutePaths(checked.data, dirname(resolve(file))), refuse }
}

function refusal(lines: readonly string[]): AppError {
  const hint = '`reasonsmith init` writes commented recipes with every key and its default'
  return new AppError('recipe', lines.join('\n'), hint)
}

/** The parser's own message without its source excerpt. */
function yamlError(
  file: string,
  error: { message: string; linePos?: readonly [{ line: number }, ...unknown[]] }
): string {
  const what = error.message.split(/ at line \d+/)[0] ?? error.message
  return `${file}:${error.linePos?.[0].line ?? 1}: not valid YAML: ${what}`
}

function sentence({ path, value, allowed }: Problem): string {
  const shown = value === undefined ? 'missing' : JSON.stringify(value)
  return `${path.length === 0 ? 'recipe' : keyName(path)}: ${shown.length > 80 ? shown.slice(0, 77) + '…' : shown}: ${allowed}`
}

/** The line of the key at `path`; where it is missing, that of the nearest key around it. */
function lineOf(document: Document, lines: LineCounter, path: KeyPath): number {
  for (let depth = path.length; depth > 0; depth--) {
    const offset = offsetOf(document, path.slice(0, depth))
    if (offset !== undefined) return lines.linePos(offset).line
  }
  return 1
}

function offsetOf(document: Document, path: KeyPath): number | undefined {
  const parent = path.length === 1 ? document.contents : document.getIn(path.slice(0, -1), true)
  const last = path.at(-1)
  if (isMap(parent)) {
    const pair = (parent.items as Pair[]).find(({ key }) => isScalar(key) && String(key.value) === String(last))
    return isScalar(pair?.key) ? pair.key.range?.[0] : undefined
  }
  return (document.getIn(path, true) as { range?: readonly number[] } | undefined)?.range?.[0]
}

/** Calls `visit` for every text in the recipe with its path. */
function eachText(value: unknown, visit: (path: KeyPath, text: string) => void, path: KeyPath = []): void {
  if (typeof value === 'string') visit(path, value)
  else if (Array.isArray(value)) value.forEach((item, i) => eachText(item, visit, [...path, i]))
  else if (typeof value === 'object' && value !== null) {
    for (const [key, item] of Object.entries(value)) eachText(item, visit, [...path, key])
  }
}

function withAbsolutePaths(recipe: Recipe, folder: string): Recipe {
  const copy = structuredClone(recipe)
  eachText(recipe, (path, text) => {
    const key = String(path.at(-1))
    if (!FILE_KEYS.has(key) && key !== FOLDER_KEY) return
    const parent = path.slice(0, -1).reduce<unknown>((at, step) => (at as Record<string, unknown>)[step], copy)
    ;(parent as Record<string, unknown>)[key] = resolve(folder, text)
  })
  return copy
}

function missingFiles(recipe: Recipe): Problem[] {
  const problems: Problem[] = []
  eachText(recipe, (path, text) => {
    const key = String(path.at(-1))
    if (key === 'adapter' && isPeftAdapter(text)) return
    const found = statSync(text, { throwIfNoEntry: false })
    if (FILE_KEYS.has(key) && !found?.isFile()) {
      problems.push({ path, value: text, allowed: found ? 'must be a file, this is a folder' : 'no such file' })
    } else if (key === FOLDER_KEY && found && !found.isDirectory()) {
      problems.push({ path, value: text, allowed: 'must be a folder, this is a file' })
    }
  })
  return problems
}
