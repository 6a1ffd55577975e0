/** Settings of a recipe between the form's text and the recipe's values. Pure. */
import type { Field } from '../../../shared/contract/recipes.ts'

export type Values = Readonly<Record<string, unknown>>

const isGroup = (value: unknown): value is Values =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

/** The value at a dotted path, or undefined where nothing is written. */
export function valueAt(values: Values | null, path: string): unknown {
  return path
    .split('.')
    .reduce<unknown>((at, key) => (isGroup(at) && Object.hasOwn(at, key) ? at[key] : undefined), values ?? undefined)
}

/** The same values with one more set, or with one less (`value` null). A group that becomes empty goes too. */
export function withValue(values: Values, path: string, value: unknown): Values {
  const [key = '', ...rest] = path.split('.')
  const { [key]: old, ...others } = values
  const next = rest.length === 0 ? value : withValue(isGroup(old) ? old : {}, rest.join('.'), value)
  const gone = next === null || (rest.length > 0 && isGroup(next) && Object.keys(next).length === 0)
  if (gone) return others
  return Object.hasOwn(values, key) ? { ...values, [key]: next } : { ...others, [key]: next }
}

/** What another setting is: as written, else its default. */
const said = (name: string, fields: readonly Field[], values: Values | null): unknown =>
  valueAt(values, name) ?? leaves(fields).find(({ path }) => path === name)?.default

/** Whether a setting of these fields means something beside what is written; one that is written is shown all the same. */
export const holds = (field: Field, fields: readonly Field[], values: Values | null): boolean =>
  valueAt(values, field.path) !== undefined ||
  Object.entries(field.onlyWith ?? {}).every(([name, value]) => said(name, fields, values) === value)

/** The field with the default it has beside what is written; the same object where that hangs on nothing. */
export function withDefault(field: Field, fields: readonly Field[], values: Values | null): Field {
  const [hangs] = Object.entries(field.defaultBy ?? {})
  if (hangs === undefined) return field
  const [name, by] = hangs
  return { ...field, default: by[String(said(name, fields, values))] }
}

/** Text typed into a field as the value it stands for; `value` null means: nothing is set, the default holds. */
export type Parsed = { readonly value: unknown } | { readonly problem: string }

const NUMBER = /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i

export function parseSetting(field: Field, typed: string): Parsed {
  const text = typed.trim()
  if (text === '') return field.required ? { problem: `${field.name} is needed` } : { value: null }
  if (field.type !== 'number' && field.type !== 'integer') return { value: text }
  if (!NUMBER.test(text)) return { problem: `${field.name} is a number, such as ${example(field)}` }
  const value = Number(text)
  if (field.type === 'integer' && !Number.isInteger(value)) return { problem: `${field.name} is a whole number` }
  const bounds = rangeText(field)
  const inside =
    (field.minimum === undefined || value >= field.minimum) &&
    (field.maximum === undefined || value <= field.maximum) &&
    (field.exclusiveMinimum === undefined || value > field.exclusiveMinimum)
  return inside ? { value } : { problem: `${field.name} must be ${bounds}` }
}

const example = (field: Field): string =>
  field.default === undefined ? (field.type === 'integer' ? '8' : '0.1') : showSetting(field.default)

/** `1 or more`, `more than 0, up to 5`; '' where anything goes. Integer bounds of the schema's own making are left out. */
export function rangeText({ minimum, maximum, exclusiveMinimum, type }: Field): string {
  const safe = (bound: number | undefined): number | undefined =>
    bound !== undefined && Math.abs(bound) < Number.MAX_SAFE_INTEGER ? bound : undefined
  const above = safe(exclusiveMinimum)
  const low = type === 'integer' && above !== undefined ? above + 1 : safe(minimum)
  const parts = [
    low === undefined ? (above === undefined ? '' : `more than ${showSetting(above)}`) : `${showSetting(low)} or more`,
    safe(maximum) === undefined ? '' : `up to ${showSetting(maximum)}`
  ]
  return parts.filter((part) => part !== '').join(', ')
}

/** A value as the form shows it: `0.0002` as `2e-4`, `8/13` with four digits, lists by commas. */
export function showSetting(value: unknown): string {
  if (value === undefined || value === null) return ''
  if (typeof value === 'number') return showNumber(value)
  if (Array.isArray(value)) {
    return value.every((one) => typeof one !== 'object') ? value.map(showSetting).join(', ') : `${value.length} entries`
  }
  return typeof value === 'object' ? JSON.stringify(value) : String(value)
}

function showNumber(value: number): string {
  if (value !== 0 && Math.abs(value) < 1e-3) return value.toExponential().replace('e+', 'e')
  const rounded = Number(value.toPrecision(5))
  return String(rounded === value ? value : rounded)
}

/** Whether what is written differs from the default: what the form marks as changed. */
export function isChanged(field: Field, values: Values | null): boolean {
  const written = valueAt(values, field.path)
  return written !== undefined && JSON.stringify(written) !== JSON.stringify(field.default)
}

/** All settings under a group, and the setting itself otherwise, for searching and counting. */
export const leaves = (fields: readonly Field[]): Field[] =>
  fields.flatMap((field) => (field.type === 'group' ? leaves(field.fields ?? []) : [field]))

/** Fields whose name, path or explanation holds every word of the search; groups stay when anything inside does. */
export function matchingFields(fields: readonly Field[], search: string): Field[] {
  const words = search
    .toLowerCase()
    .split(/\s+/)
    .filter((word) => word !== '')
  if (words.length === 0) return [...fields]
  return fields.flatMap((field) => {
    const text = `${field.path} ${field.description}`.toLowerCase()
    if (words.every((word) => text.includes(word))) return [field]
    if (field.type !== 'group') return []
    const inside = matchingFields(field.fields ?? [], search)
    return inside.length === 0 ? [] : [{ ...field, fields: inside }]
  })
}
