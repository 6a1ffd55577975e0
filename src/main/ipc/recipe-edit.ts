/**
 * One setting of a recipe changed in its text: only the lines of that setting change, so that comments, order and form stay
 * as a person wrote them. What cannot be done on the text alone (values inside `{…}`) the YAML library writes anew.
 */
import { isDeepStrictEqual } from 'node:util'
import { isAlias, isMap, isScalar, isSeq, parseDocument, stringify } from 'yaml'
import type { Document, Node, Pair, YAMLMap } from 'yaml'
import { AppError } from '../../shared/errors.ts'

type Key = string | number

/** Sets a setting, or removes it (null). Throws AppError('recipe') where the text is no YAML map. */
export function editRecipe(yaml: string, path: readonly string[], value: unknown): string {
  const document = parseDocument(yaml)
  if (document.errors.length > 0 || !(document.contents === null || isMap(document.contents) || yaml.trim() === '')) {
    const hint = 'Correct the marked line first.'
    throw new AppError('recipe', 'the YAML has a mistake, so a setting cannot be changed in it', hint)
  }
  const keys = path.map((key) => (/^\d+$/.test(key) ? Number(key) : key))
  const wanted = value ?? null
  const there = document.getIn(keys)
  if (wanted === null && there === undefined && !document.hasIn(keys)) return yaml
  const changed = wanted === null ? removed(yaml, document, keys) : set(yaml, document, keys, wanted)
  return changed !== null && holds(changed, keys, wanted) ? changed : rewritten(document, keys, wanted)
}

function holds(yaml: string, keys: readonly Key[], wanted: unknown): boolean {
  const document = parseDocument(yaml)
  if (document.errors.length > 0) return false
  if (wanted === null) return document.contents === null || !document.hasIn(keys)
  const found: unknown = (document.toJS() as unknown) ?? {}
  const at = keys.reduce<unknown>((value, key) => (value as Record<Key, unknown> | undefined)?.[key], found)
  return isDeepStrictEqual(at, wanted)
}

const isPlain = (value: unknown): boolean => typeof value !== 'object' || value === null
const inLine = (value: unknown): boolean => isPlain(value) || (Array.isArray(value) && value.every(isPlain))

function textOf(value: unknown): string {
  return stringify(value, { lineWidth: 0, collectionStyle: 'flow', flowCollectionPadding: false }).trim()
}

function set(yaml: string, document: Document, keys: readonly Key[], value: unknown): string | null {
  if (!inLine(value)) return null
  if (document.contents === null) {
    const start = yaml.trim() === '' ? '' : yaml.replace(/\n*$/, '\n')
    return start + nested(keys, value, '')
  }
  const node = document.getIn(keys, true) as Node | undefined
  if (node?.range && document.hasIn(keys)) {
    if (!isScalar(node) && (isAlias(node) || node.flow !== true)) return null
    const [start, end] = node.range
    return yaml.slice(0, start) + (end === start ? ' ' : '') + textOf(value) + yaml.slice(end)
  }
  // The nearest group that is there takes the rest as new lines after its last one.
  for (let depth = keys.length - 1; depth >= 0; depth--) {
    const group = depth === 0 ? document.contents : document.getIn(keys.slice(0, depth), true)
    if (group === undefined) continue
    if (!isMap(group) || group.flow === true || group.items.length === 0) return null
    const at = endOfLine(yaml, endOf(group))
    const rest = nested(keys.slice(depth), value, indentOf(yaml, group))
    return `${yaml.slice(0, at)}\n${rest.trimEnd()}${yaml.slice(at) === '' ? '\n' : yaml.slice(at)}`
  }
  return null
}

function removed(yaml: string, document: Document, keys: readonly Key[]): string | null {
  const parent = keys.length === 1 ? document.contents : document.getIn(keys.slice(0, -1), true)
  if (!isMap(parent) || parent.flow === true) return null
  const pair = pairOf(parent, keys.at(-1)!)
  if (pair === undefined) return null
  if (parent.items.length === 1 && keys.length > 1) return removed(yaml, document, keys.slice(0, -1))
  const start = yaml.lastIndexOf('\n', (pair.key as Node).range![0]) + 1
  return yaml.slice(0, start) + yaml.slice(endOfLine(yaml, endOfPair(pair)) + 1)
}

const pairOf = (map: YAMLMap, key: Key): Pair | undefined =>
  (map.items as Pair[]).find((pair) => isScalar(pair.key) && String(pair.key.value) === String(key))

/** Where the last thing of a node ends; ranges of groups run on into the lines after them. */
function endOf(node: Node): number {
  if (isMap(node) && node.flow !== true && node.items.length > 0) return endOfPair(node.items.at(-1) as Pair)
  if (isSeq(node) && node.flow !== true && node.items.length > 0) return endOf(node.items.at(-1) as Node)
  return node.range?.[1] ?? 0
}
const endOfPair = ({ key, value }: Pair): number =>
  Math.max(endOf(key as Node), value === null ? 0 : endOf(value as Node))

function endOfLine(yaml: string, at: number): number {
  // A block of text ends with its own line break.
  if (at > 0 && yaml[at - 1] === '\n') return at - 1
  const end = yaml.indexOf('\n', at)
  return end < 0 ? yaml.length : end
}

function indentOf(yaml: string, group: YAMLMap): string {
  const start = ((group.items[0] as Pair).key as Node).range![0]
  return ' '.repeat(start - (yaml.lastIndexOf('\n', start - 1) + 1))
}

function nested(keys: readonly Key[], value: unknown, indent: string): string {
  const [key, ...rest] = keys
  return rest.length === 0
    ? `${indent}${String(key)}: ${textOf(value)}\n`
    : `${indent}${String(key)}:\n${nested(rest, value, `${indent}  `)}`
}

/** The library's own way: the value is right, comments may move. */
function rewritten(document: Document, keys: readonly Key[], value: unknown): string {
  if (value !== null) {
    if (document.contents === null) document.contents = document.createNode({}) as never
    document.setIn(keys, value)
  } else {
    for (let depth = keys.length; depth > 0; depth--) {
      const at = keys.slice(0, depth)
      const there = document.getIn(at)
      if (depth === keys.length || (isMap(there) && there.items.length === 0)) document.deleteIn(at)
    }
  }
  return document.toString({ lineWidth: 0 })
}
