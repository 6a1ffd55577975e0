/** What an extracted answer says: an exact number, a list, or an expression left to the symbolic step. */
import { evaluate } from './expression.ts'
import { looksMathematical, plainNotation } from './notation.ts'
import {
  add,
  divide,
  fromDecimal,
  integer,
  multiply,
  negate,
  power,
  rational,
  same,
  type Rational
} from './rational.ts'

export type Value =
  | {
      readonly kind: 'number'
      readonly plain: string
      readonly value: Rational
      /** Written with a decimal point or exponent, so possibly rounded. */
      readonly decimal: boolean
      /** Written with a percent sign; `value` is the number before the sign. */
      readonly percent: boolean
      /** Needed arithmetic to get there (`3 * 4`): a computation left undone rather than an answer. */
      readonly computed: boolean
    }
  | { readonly kind: 'list'; readonly plain: string; readonly brackets: string; readonly items: readonly Value[] }
  | { readonly kind: 'expression'; readonly plain: string; readonly mathematical: boolean }

export type Reading = Value | { readonly kind: 'unreadable'; readonly why: string }

/** Longer answers are refused unread, in characters. */
export const MAX_ANSWER_CHARACTERS = 1000

const INTEGER = String.raw`(?:\d{1,3}(?:, ?\d{3})+(?!\d)|\d{1,3}(?: \d{3})+(?!\d)|\d+)`
const SCIENTIFIC = String.raw`(?:[eE][+-]?\d+|\s*\*\s*10\s*\^\s*(?:\{\s*[+-]?\d+\s*\}|[+-]?\d+))`
const DECIMAL = String.raw`(?:${INTEGER}(?:\.\d*)?|\.\d+)${SCIENTIFIC}?`
const OVER = String.raw`(?:\\frac\s*\{\s*([+-]?\s*${DECIMAL})\s*\}\s*\{\s*([+-]?\s*${DECIMAL})\s*\}|([+-]?\s*${DECIMAL})\s*/\s*([+-]?\s*${DECIMAL}))`
const SIGN = String.raw`([+-]?)\s*`
const REST = String.raw`(\s*(?:%|percent\b))?(.*)`
const FRACTION = new RegExp(`^${SIGN}${OVER}${REST}$`)
const MIXED = new RegExp(`^${SIGN}(\\d+)\\s*(?:\\s|(?=\\\\frac))${OVER}${REST}$`)
const NUMBER = new RegExp(`^${SIGN}(${DECIMAL})${REST}$`)
const POWER = /^([+-]?)\s*(\d+)\s*\^\s*(?:\{\s*(-?\d+)\s*\}|(-?\d))$/

const SCALES: ReadonlyMap<string, bigint> = new Map([
  ['hundred', 100n],
  ['thousand', 1000n],
  ['million', 1000000n],
  ['billion', 1000000000n],
  ['trillion', 1000000000000n]
])
const SHORT_UNITS = new Set(
  'cm mm km kg mg ml kl lb lbs oz ft yd mi in hr hrs min mins sec secs ms mph kph kmh usd hz pm am gb mb tb'.split(' ')
)
const LETTER_UNITS = new Set('m g s h L l N J W V A K C F'.split(' '))
/** Words after a number that make it part of a sentence or of a larger expression, not a number with its unit. */
const NO_UNITS = new Set(
  'and or to not is are was were be but if because since so as then than plus minus times over divided more less wrong maybe pi sin cos tan log ln sqrt dozen dozens score mod infinity'.split(
    ' '
  )
)

/** What follows a number: nothing, a scale word, a unit. null: the whole is not one number. */
function afterNumber(rest: string): { scale: bigint } | null {
  if (rest.trim() === '') return { scale: 1n }
  const attached = !/^[\s-]/.test(rest)
  let tail = rest.replace(/^[\s-]+/, '')
  let scale = 1n
  const scaleWord = /^[a-z]+/i.exec(tail)?.[0].toLowerCase() ?? ''
  if (SCALES.has(scaleWord)) {
    scale = SCALES.get(scaleWord)!
    tail = tail.slice(scaleWord.length).trim()
    if (tail === '') return { scale }
  }
  if (!/^[a-zA-Z][a-zA-Z']*(?:(?:\s*\/\s*|[\s.-]+)[a-zA-Z][a-zA-Z']*){0,5}\s*(?:\^\s*\{?\s*[23]\s*\}?)?$/.test(tail))
    return null
  const words = tail
    .replace(/\^.*$/, '')
    .split(/[^a-zA-Z']+/)
    .filter(Boolean)
  if (words.some((word) => NO_UNITS.has(word.toLowerCase()))) return null
  const unit = words[0]!
  if (unit.length === 1) return !attached && LETTER_UNITS.has(unit) ? { scale } : null
  return !attached || unit.length >= 4 || SHORT_UNITS.has(unit.toLowerCase()) ? { scale } : null
}

/** A decimal in any accepted spelling: separators, `* 10^3`. */
function decimalOf(text: string): Rational | null {
  const [, mantissa = '', exponent] = /^(.*?)\s*\*\s*10\s*\^\s*\{?\s*([+-]?\d+)\s*\}?$/.exec(text) ?? [text, text]
  const base = fromDecimal(mantissa.replace(/[\s,]/g, ''))
  if (base === null || exponent === undefined) return base
  const scale = exponent.length > 5 ? null : power(integer(10), integer(BigInt(exponent)))
  return scale === null ? null : multiply(base, scale)
}

function readNumber(plain: string): Reading | null {
  const finish = (
    sign: string | undefined,
    size: Rational | null,
    rest: { percent: string | undefined; tail: string | undefined; decimal: boolean; why: string }
  ): Reading | null => {
    const after = afterNumber(rest.tail ?? '')
    if (after === null) return null
    if (size === null) return { kind: 'unreadable', why: rest.why }
    const value = multiply(sign === '-' ? negate(size) : size, integer(after.scale))
    return { kind: 'number', plain, value, decimal: rest.decimal, percent: rest.percent !== undefined, computed: false }
  }
  const quotient = (top: string, bottom: string): { size: Rational | null; why: string; decimal: boolean } => {
    const [a, b] = [decimalOf(top), decimalOf(bottom)]
    const decimal = /[.eE^]/.test(top + bottom)
    if (a === null || b === null) return { size: null, why: 'number too large', decimal }
    return { size: divide(a, b), why: 'division by zero', decimal }
  }

  const raised = POWER.exec(plain)
  if (raised) {
    const [, sign, base = '', long, short] = raised
    const exponent = (long ?? short)!
    const size = exponent.length > 5 ? null : power(integer(BigInt(base)), integer(BigInt(exponent)))
    return finish(sign, size, { percent: undefined, tail: '', decimal: false, why: 'number too large' })
  }
  const mixed = MIXED.exec(plain)
  if (mixed) {
    const [, sign, whole = '', a, b, c, d, percent, tail] = mixed
    const part = quotient((a ?? c)!, (b ?? d)!)
    const proper = part.size !== null && part.size.numerator > 0n && part.size.numerator < part.size.denominator
    if (proper) return finish(sign, add(integer(BigInt(whole)), part.size!), { percent, tail, decimal: false, why: '' })
  }
  const fraction = FRACTION.exec(plain)
  if (fraction) {
    const [, sign, a, b, c, d, percent, tail] = fraction
    const { size, why, decimal } = quotient((a ?? c)!, (b ?? d)!)
    return finish(sign, size, { percent, tail, decimal, why })
  }
  const number = NUMBER.exec(plain)
  if (number) {
    const [, sign, digits = '', percent, tail] = number
    return finish(sign, decimalOf(digits), { percent, tail, decimal: /[.eE^]/.test(digits), why: 'number too large' })
  }
  return null
}

/** Splits at commas outside brackets. */
function split(text: string): string[] {
  const parts: string[] = []
  let [depth, from] = [0, 0]
  for (let i = 0; i < text.length; i++) {
    const char = text[i]!
    if ('([{'.includes(char)) depth++
    else if (')]}'.includes(char)) depth--
    else if ((char === ',' || char === ';') && depth === 0) {
      parts.push(text.slice(from, i))
      from = i + 1
    }
  }
  return [...parts, text.slice(from)]
}

/** Whether the first bracket closes only at the very end. */
function enclosed(text: string): boolean {
  let depth = 0
  for (let i = 0; i < text.length; i++) {
    if ('([{'.includes(text[i]!)) depth++
    else if (')]}'.includes(text[i]!) && --depth === 0) return i === text.length - 1
  }
  return false
}

function readList(plain: string, depth: number): Reading | null {
  const set = /^\\\{(.*)\\\}$/.exec(plain)
  const bracketed = set ?? (enclosed(plain) && /^[([].*[)\]]$/.test(plain) ? /^.(.*).$/.exec(plain) : null)
  const inside = bracketed?.[1] ?? plain
  const brackets = set ? '{}' : bracketed ? plain[0]! + plain.at(-1)! : ''
  const parts = split(inside)
  if (parts.length < 2) return brackets === '()' || brackets === '[]' ? readPlain(inside.trim(), depth + 1) : null
  if (brackets === '' && !looksMathematical(plain)) return null
  const items = parts.map((part) => readPlain(plainNotation(part), depth + 1))
  const bad = items.find((item) => item.kind === 'unreadable')
  return bad ?? { kind: 'list', plain, brackets, items: items as Value[] }
}

/** `x = 5`, `5 = x`, `3 + 4 = 7`: the side that answers. Other equations stay whole. */
function readEquation(plain: string, depth: number): Reading | null {
  const sides = plain.split(/=|\\approx(?![a-zA-Z])|\\in(?![a-zA-Z])/).map((side) => side.trim())
  if (sides.length < 2 || /[<>!]=|==/.test(plain)) return null
  const named = sides.filter((side) => !/^[a-zA-Z](?:_\{?\w+\}?)?$|^[a-zA-Z]{2,}(?: [a-zA-Z]+)*$|^$/.test(side))
  if (named.length === 0) return null
  const values = named.map((side) => readPlain(side, depth + 1))
  const last = values.at(-1)!
  if (values.length === 1) return last
  if (!values.every((value) => value.kind === 'number')) return null
  const first = values[0]!
  const agree = values.every((value) => same(value.value, first.value)) || /\\approx/.test(plain)
  return agree ? last : { kind: 'unreadable', why: 'the sides of the equation differ' }
}

/** `2 * 3 + 1`, exactly: a number, but marked as a computation. */
function readComputation(plain: string): Reading | null {
  if (/[a-zA-Z\\]/.test(plain.replace(/\\frac/g, ''))) return null
  const source = plain
    .replace(/\\frac\s*\{([^{}]*)\}\s*\{([^{}]*)\}/g, '(($1)/($2))')
    .replace(/[{[]/g, '(')
    .replace(/[}\]]/g, ')')
  const result = evaluate(source)
  if (result.kind === 'unreadable') return result.why === 'division by zero' ? result : null
  return { kind: 'number', plain, value: result.value, decimal: /\./.test(source), percent: false, computed: true }
}

function readPlain(plain: string, depth: number): Reading {
  if (plain === '') return { kind: 'unreadable', why: 'empty answer' }
  if (depth > 8) return { kind: 'unreadable', why: 'nested too deeply' }
  const braced = plain.startsWith('{') && enclosed(plain) ? plain.slice(1, -1).trim() : plain
  if (braced !== plain) return readPlain(braced, depth + 1)
  const about = plain.replace(/^(?:\\approx|\\sim|about|approximately|exactly|only|USD)\s+/i, '')
  return (
    readNumber(about) ??
    readEquation(plain, depth) ??
    readList(plain, depth) ??
    readComputation(plain) ?? { kind: 'expression', plain, mathematical: looksMathematical(plain) }
  )
}

/** Reads an answer's text (the content of a box, a gold solution). Never throws on any input. */
export function readValue(raw: string): Reading {
  if (raw.length > MAX_ANSWER_CHARACTERS) return { kind: 'unreadable', why: 'answer too long' }
  return readPlain(plainNotation(raw), 0)
}

/** Percent signs resolved: the number itself, or a hundredth of it. */
export const hundredth = (value: Rational): Rational => multiply(value, rational(1n, 100n)!)
