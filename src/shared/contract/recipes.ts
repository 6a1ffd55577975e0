/** Recipes as a form and as YAML: one schema, checked the way the command line checks it. */
import { z } from 'zod'
import { call, HostPath, Issue } from './call.ts'

export const RECIPE_KINDS = ['sft', 'grpo', 'evaluate'] as const

/** One setting of the form, made from the zod schema. Groups (`lora`) have `fields`. */
/** Something by the name of another setting. */
export type BySetting<T> = Readonly<Record<string, T>>

export type Field = {
  /** Dotted, e.g. `optimizer.learning_rate`. */
  readonly path: string
  readonly name: string
  readonly type: 'number' | 'integer' | 'boolean' | 'text' | 'path' | 'choice' | 'choices' | 'group' | 'yaml'
  readonly required: boolean
  /** Absent where the setting is optional without one. */
  readonly default?: unknown
  /** Defaults that hang on another setting, by its value: `{ finetuning_type: { lora: 2e-4, full: 1e-5 } }`. */
  readonly defaultBy?: BySetting<Readonly<Record<string, unknown>>> | undefined
  /** It means nothing unless another setting has this value. */
  readonly onlyWith?: BySetting<string> | undefined
  /** The explanation, with the report's value where it has one. */
  readonly description: string
  readonly report?: string | undefined
  readonly choices?: readonly string[] | undefined
  readonly minimum?: number | undefined
  readonly maximum?: number | undefined
  readonly exclusiveMinimum?: number | undefined
  readonly fields?: readonly Field[] | undefined
}

export const Preset = z.object({
  id: z.string(),
  kind: z.enum(RECIPE_KINDS),
  title: z.string(),
  description: z.string(),
  yaml: z.string()
})

export const recipes = {
  fields: call.input(z.strictObject({ kind: z.enum(RECIPE_KINDS) })).output(z.array(z.custom<Field>())),
  presets: call.input(z.strictObject({})).output(z.array(Preset)),
  /** Checks YAML as `reasonsmith sft` would; `values` are the settings as written, without defaults. */
  check: call.input(z.strictObject({ yaml: z.string() })).output(
    z.object({
      kind: z.enum(RECIPE_KINDS).nullable(),
      values: z.record(z.string(), z.unknown()).nullable(),
      issues: z.array(Issue)
    })
  ),
  /** The text of a recipe file on the host, e.g. one that was opened from the desktop. Its paths become absolute. */
  open: call.input(z.strictObject({ path: HostPath })).output(z.object({ yaml: z.string() })),
  /** Sets or removes (value null) one setting in YAML text, keeping its comments and order. */
  edit: call
    .input(z.strictObject({ yaml: z.string(), path: z.string(), value: z.unknown().nullable() }))
    .output(z.object({ yaml: z.string() })),
  /** The memory plan and a predicted time, without loading the model. Answers with issues where it cannot be made. */
  plan: call.input(z.strictObject({ yaml: z.string() })).output(
    z.object({
      fits: z.boolean(),
      rows: z.array(z.object({ name: z.string(), mib: z.number() })),
      allowedMib: z.number(),
      notes: z.array(z.string()),
      /** How long the run will take; null where the recipe cannot be planned. */
      time: z
        .object({
          seconds: z.number().nullable(),
          /** From the rates of earlier runs here, or only from doctor's matrix rate: a guess. */
          source: z.enum(['measured', 'guess', 'unknown']),
          why: z.string()
        })
        .nullable(),
      issues: z.array(Issue)
    })
  )
}
