/**
 * What is wrong with a recipe, as plain values: the key, the value found there, what is allowed. Turns zod's issues into
 * these; knows nothing of files and lines (recipe-file.ts adds them).
 */
import { z } from 'zod'
import { nearest } from '../../../shared/nearest.ts'

export type KeyPath = readonly (string | number)[]

export type Problem = {
  readonly path: KeyPath
  /** What stands there; absent when the key is missing. */
  readonly value?: unknown
  /** What would be right, as the end of the sentence. */
  readonly allowed: string
}

type Issue = z.core.$ZodIssue
type IssueOf<C extends Issue['code']> = Extract<Issue, { code: C }>
/** Plain data as YAML gives it. */
type Values = Readonly<Record<string, unknown>>

/** Every problem of `value` under `schema`, most of them one per key. */
export function problemsOf(schema: z.ZodType, value: unknown, error: z.ZodError): Problem[] {
  return error.issues.flatMap((issue) => fromIssue(issue, [], value, schema))
}

/** The value at a path, or undefined where the path leaves the data. */
export function valueAt(value: unknown, path: KeyPath): unknown {
  return path.reduce<unknown>(
    (at, key) => (typeof at === 'object' && at !== null ? (at as Values)[String(key)] : undefined),
    value
  )
}

/** `tasks[0].file`: a path as a person writes it. */
export function keyName(path: KeyPath): string {
  return path.map((key, i) => (typeof key === 'number' ? `[${key}]` : i === 0 ? key : `.${key}`)).join('')
}

function fromIssue(issue: Issue, under: KeyPath, root: unknown, schema: z.ZodType): Problem[] {
  const path = [...under, ...(issue.path as KeyPath)]
  if (issue.code === 'unrecognized_keys') return unknownKeys(issue, path, root, schema)
  if (issue.code === 'invalid_union' && issue.errors.length > 0) {
    return closestBranch(issue).flatMap((inner) => fromIssue(inner, path, root, schema))
  }
  const value = valueAt(root, path)
  return [value === undefined ? { path, allowed: allowed(issue) } : { path, value, allowed: allowed(issue) }]
}

/** Of a union's branches the one the author meant: fewest unknown keys first, then fewest problems. */
function closestBranch(issue: IssueOf<'invalid_union'>): Issue[] {
  const cost = (branch: readonly Issue[]): number =>
    branch.reduce((sum, one) => sum + (one.code === 'unrecognized_keys' ? 10 * one.keys.length : 1), 0)
  return [...issue.errors].sort((a, b) => cost(a) - cost(b))[0] ?? []
}

function unknownKeys(issue: IssueOf<'unrecognized_keys'>, path: KeyPath, root: unknown, schema: z.ZodType): Problem[] {
  const known = knownKeys(z.toJSONSchema(schema, { io: 'input' }), path, valueAt(root, ['kind']))
  return issue.keys.map((key) => {
    const meant = nearest(key, known)
    const hint = meant === null ? `known keys here are ${known.join(', ')}` : `did you mean ${meant}?`
    const keyPath = [...path, key]
    return { path: keyPath, value: valueAt(root, keyPath), allowed: `unknown key; ${hint}` }
  })
}

type JsonSchema = z.core.JSONSchema.BaseSchema

/** The keys a schema has at a path. Branches of a union count together, save that a recipe's `kind` picks one. */
function knownKeys(schema: JsonSchema, path: KeyPath, kind: unknown): string[] {
  const branches = [...(schema.anyOf ?? []), ...(schema.oneOf ?? [])] as JsonSchema[]
  const chosen = branches.filter((branch) => (branch.properties?.['kind'] as JsonSchema | undefined)?.const === kind)
  if (branches.length > 0) {
    return [...new Set((chosen.length > 0 ? chosen : branches).flatMap((branch) => knownKeys(branch, path, kind)))]
  }
  const [key, ...rest] = path
  if (key === undefined) return Object.keys(schema.properties ?? {})
  const next = (typeof key === 'number' ? schema.items : schema.properties?.[key]) as JsonSchema | undefined
  return next === undefined ? [] : knownKeys(next, rest, undefined)
}

/** What would be right, from the issue alone. */
function allowed(issue: Issue): string {
  const say = SENTENCES[issue.code] as ((issue: Issue) => string) | undefined
  return say?.(issue) ?? issue.message
}

const KINDS: Readonly<Record<string, string>> = {
  string: 'text',
  number: 'a number',
  int: 'a whole number',
  boolean: 'true or false',
  array: 'a list',
  object: 'a group of keys'
}

const SENTENCES: { readonly [C in Issue['code']]?: (issue: IssueOf<C>) => string } = {
  invalid_type: (issue) => `must be ${KINDS[issue.expected] ?? issue.expected}`,
  invalid_value: (issue) => `must be ${issue.values.map(String).join(' | ')}`,
  invalid_union: () => 'must be sft | grpo | evaluate', // only the recipe itself is a union without branches to show
  too_small: (issue) => bound(issue.origin, issue.minimum, issue.inclusive ? 'or more' : 'more than'),
  too_big: (issue) => bound(issue.origin, issue.maximum, issue.inclusive ? 'or less' : 'less than')
}

function bound(origin: string, limit: number | bigint, how: string): string {
  if (origin === 'string') return 'must not be empty'
  const unit = origin === 'array' ? ' entries' : ''
  return how.startsWith('or') ? `must be ${limit}${unit} ${how}` : `must be ${how} ${limit}${unit}`
}
