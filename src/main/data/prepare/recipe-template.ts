/**
 * Commented recipe files for `init`, made from the schemas: every key with its default, its range and its description,
 * so that they cannot drift from what is accepted. Optional keys without a default stand commented out.
 */
import { stringify } from 'yaml'
import { z } from 'zod'
import { EvaluateRecipe, GrpoRecipe, SftRecipe } from '../../../shared/recipe.ts'
import type { Recipe } from '../../../shared/recipe.ts'

type JsonSchema = z.core.JSONSchema.BaseSchema
type Template = { readonly schema: z.ZodType<Recipe>; readonly about: string; readonly required: object }

const TASKS = { file: 'tasks.jsonl' }

/** What a person must fill in; everything else has a default. */
export const TEMPLATES: Readonly<Record<Recipe['kind'], Template>> = {
  sft: {
    schema: SftRecipe,
    about: 'Teach: fine-tuning on traces, loss on the assistant’s tokens, thinking included.',
    required: { kind: 'sft', base: 'base.gguf', output_dir: 'runs/sft', train: 'train.jsonl' }
  },
  grpo: {
    schema: GrpoRecipe,
    about: 'Sharpen: group-relative policy optimisation under the length-aware reward.',
    required: { kind: 'grpo', base: 'base.gguf', output_dir: 'runs/grpo', tasks: [TASKS] }
  },
  evaluate: {
    schema: EvaluateRecipe,
    about: 'Measure: every policy on the same held-out tasks, over repeated runs.',
    required: {
      kind: 'evaluate',
      base: 'base.gguf',
      output_dir: 'runs/evaluate',
      policies: [{ name: 'base' }],
      tasksets: [{ name: 'held-out', tasks: [TASKS] }]
    }
  }
}

/** The text of a commented recipe. It parses to the schema's defaults. */
export function recipeTemplate(kind: Recipe['kind']): string {
  const { schema, about, required } = TEMPLATES[kind]
  const values = schema.parse(required) as Readonly<Record<string, unknown>>
  const head = [
    `# ${about}`,
    `# Run it with: reasonsmith ${kind} ${kind}.yaml`,
    '# Paths are relative to this file. A line with "#" before its key is optional; the others show the default.',
    ''
  ]
  return [...head, ...keyLines(z.toJSONSchema(schema, { io: 'input' }), values, required), ''].join('\n')
}

function keyLines(
  schema: JsonSchema,
  values: Readonly<Record<string, unknown>>,
  required: object,
  indent = ''
): string[] {
  return Object.entries(schema.properties ?? {}).flatMap(([key, property]) => {
    const one = property as JsonSchema
    const value = values[key]
    const comment = note(one, Object.hasOwn(required, key) && key !== 'kind')
    // a default that hangs on another setting is filled in by the schema and would be untrue once that one changes
    const open = one.default === undefined && !Object.hasOwn(required, key) && !isGroup(value)
    if (value === undefined || open) return [`${indent}# ${key}:${comment}`]
    if (isGroup(value)) return [`${indent}${key}:${comment}`, ...keyLines(one, value, {}, `${indent}  `)]
    const [first = '', ...rest] = yamlLines(key, value)
    return [`${indent}${first}${comment}`, ...rest.map((line) => indent + line)]
  })
}

const isGroup = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

/** A list of names fits on one line; a list of groups needs its own lines. */
function yamlLines(key: string, value: unknown): string[] {
  const grouped = Array.isArray(value) && value.some(isGroup)
  const text = stringify(
    { [key]: value },
    { collectionStyle: grouped ? 'block' : 'any', flowCollectionPadding: false, lineWidth: 0 }
  )
  return (grouped ? text : Array.isArray(value) ? `${key}: [${value.map(String).join(', ')}]` : text)
    .trimEnd()
    .split('\n')
}

function note(schema: JsonSchema, required: boolean): string {
  const parts = [required ? 'yours to fill in' : '', range(schema), schema.description ?? ''].filter(
    (part) => part !== ''
  )
  return parts.length === 0 ? '' : `  # ${parts.join('; ')}`
}

/** `1 or more`, `more than 0, up to 1`, `grpo | dapo`: what a value may be. */
function range(schema: JsonSchema): string {
  const choices = (schema.enum ?? (schema.items as JsonSchema | undefined)?.enum)?.join(' | ')
  if (choices !== undefined) return schema.type === 'array' ? `any of ${choices}` : choices
  const whole = schema.type === 'integer'
  const above = schema.exclusiveMinimum
  const low = above !== undefined && whole ? Number(above) + 1 : schema.minimum
  const lowText =
    low !== undefined && low > Number.MIN_SAFE_INTEGER
      ? `${low} or more`
      : !whole && above !== undefined
        ? `more than ${above}`
        : ''
  const high = schema.maximum !== undefined && schema.maximum < Number.MAX_SAFE_INTEGER ? `up to ${schema.maximum}` : ''
  const below = schema.exclusiveMaximum === undefined ? '' : `less than ${schema.exclusiveMaximum}`
  return [lowText, high, below].filter((part) => part !== '').join(', ')
}
