/** The form of a recipe, made from its zod schema: one field a setting, so that the form cannot drift from what is accepted. */
import { z } from 'zod'
import type { Field } from '../../shared/contract/recipes.ts'
import { EvaluateRecipe, GrpoRecipe, SftRecipe } from '../../shared/recipe.ts'

const SCHEMAS = { sft: SftRecipe, grpo: GrpoRecipe, evaluate: EvaluateRecipe } as const

type JsonSchema = z.core.JSONSchema.BaseSchema

/** Settings that name a file or folder: the form offers a chooser. */
const PATHS: ReadonlySet<string> = new Set(['base', 'adapter', 'output_dir', 'train', 'held_out'])
/** What the app fills in when it is left out. */
const FILLED_IN: Readonly<Record<string, string>> = { output_dir: 'default: a new folder of the workspace' }

export function recipeFields(kind: keyof typeof SCHEMAS): readonly Field[] {
  return fieldsOf(z.toJSONSchema(SCHEMAS[kind], { io: 'input' }), '')
}

function fieldsOf(schema: JsonSchema, under: string): Field[] {
  const required = new Set(schema.required ?? [])
  return Object.entries(schema.properties ?? {})
    .filter(([name]) => !(under === '' && name === 'kind'))
    .map(([name, property]) => fieldOf(name, `${under}${name}`, property as JsonSchema, required.has(name)))
}

function fieldOf(name: string, path: string, schema: JsonSchema, required: boolean): Field {
  const said = [schema.description, path in FILLED_IN ? FILLED_IN[path] : undefined].filter(
    (text) => text !== undefined
  )
  const description = said.join('; ')
  const type = typeOf(name, schema)
  const report = /report[^:;]*: ([^;]+)/.exec(description)?.[1]
  const bounds =
    type === 'number' || type === 'integer'
      ? {
          ...(schema.minimum !== undefined && schema.minimum > Number.MIN_SAFE_INTEGER && { minimum: schema.minimum }),
          ...(schema.maximum !== undefined && schema.maximum < Number.MAX_SAFE_INTEGER && { maximum: schema.maximum }),
          ...(schema.exclusiveMinimum !== undefined && { exclusiveMinimum: Number(schema.exclusiveMinimum) })
        }
      : {}
  const choices = (schema.enum ?? (schema.items as JsonSchema | undefined)?.enum)?.map(String)
  return {
    path,
    name,
    type,
    required: required && !(path in FILLED_IN),
    ...(schema.default !== undefined && type !== 'group' && { default: schema.default }),
    ...pick(schema, 'defaultBy'),
    ...pick(schema, 'onlyWith'),
    description,
    ...(report !== undefined && { report }),
    ...(choices !== undefined && { choices }),
    ...bounds,
    ...(type === 'group' && { fields: fieldsOf(schema, `${path}.`) })
  }
}

/** What a setting's schema says of others, if it does (`meta` of shared/recipe.ts). */
const pick = <K extends 'defaultBy' | 'onlyWith'>(schema: JsonSchema, key: K): Pick<Field, K> =>
  (schema[key] === undefined ? {} : { [key]: schema[key] }) as Pick<Field, K>

function typeOf(name: string, schema: JsonSchema): Field['type'] {
  if (schema.type === 'object' && schema.properties !== undefined) return 'group'
  if (schema.type === 'array') return (schema.items as JsonSchema | undefined)?.enum === undefined ? 'yaml' : 'choices'
  if (schema.enum !== undefined) return 'choice'
  if (schema.type === 'integer' || schema.type === 'number' || schema.type === 'boolean') return schema.type
  return schema.type === 'string' ? (PATHS.has(name) ? 'path' : 'text') : 'yaml'
}
