/**
 * A small exact calculator: numbers, + - * / ^, brackets, implicit products (`3x`, `2(1 + x)`), one optional variable.
 * Grades countdown expressions and solves linear equations. Text from a model is parsed here and never run as code.
 */
import { add, divide, fromDecimal, multiply, negate, power, subtract, type Rational } from './rational.ts'

export type Evaluation =
  | {
      readonly kind: 'value'
      readonly value: Rational
      readonly numbers: readonly string[]
      readonly operations: number
    }
  | { readonly kind: 'unreadable'; readonly why: string }

/** Longer input, or brackets nested deeper than this, is refused before anything is computed. */
const MAX_CHARACTERS = 400
const MAX_DEPTH = 50

const TOKEN = /\s*(\d+(?:\.\d+)?|\.\d+|\*\*|[-+*/^()×÷·−–]|[a-zA-Z])/y
const SPELLINGS: ReadonlyMap<string, string> = new Map([
  ['×', '*'],
  ['·', '*'],
  ['÷', '/'],
  ['−', '-'],
  ['–', '-'],
  ['**', '^']
])

class Refusal extends Error {}

function tokenise(text: string): string[] {
  const tokens: string[] = []
  const source = text.trimEnd()
  TOKEN.lastIndex = 0
  while (TOKEN.lastIndex < source.length) {
    const at = TOKEN.lastIndex
    const match = TOKEN.exec(source)
    if (!match) throw new Refusal(`unexpected ${JSON.stringify(source.slice(at).trim().slice(0, 10))}`)
    tokens.push(SPELLINGS.get(match[1]!) ?? match[1]!)
  }
  return tokens
}

const known = (value: Rational | null, why: string): Rational => {
  if (value === null) throw new Refusal(why)
  return value
}

const OPERATIONS: ReadonlyMap<string, (a: Rational, b: Rational) => Rational> = new Map([
  ['+', add],
  ['-', subtract],
  ['*', multiply],
  ['/', (a: Rational, b: Rational) => known(divide(a, b), 'division by zero')],
  ['^', (a: Rational, b: Rational) => known(power(a, b), 'power out of range')]
])

/**
 * The exact value of an expression, the number literals in it (in order) and how many operations it has (a sign counts
 * as none). `variable` names the one letter allowed and its value. Precedence: ^ (right), sign, * / and implicit
 * products (left), + - (left). Anything else is unreadable, with the reason.
 */
export function evaluate(text: string, variable?: { readonly name: string; readonly value: Rational }): Evaluation {
  const numbers: string[] = []
  let operations = 0
  let tokens: readonly string[] = []
  let at = 0
  let depth = 0

  const apply = (sign: string, a: Rational, b: Rational): Rational => {
    operations++
    return OPERATIONS.get(sign)!(a, b)
  }
  const sum = (): Rational => {
    let value = product()
    while (tokens[at] === '+' || tokens[at] === '-') value = apply(tokens[at++]!, value, product())
    return value
  }
  const product = (): Rational => {
    let value = signed()
    for (;;) {
      const token = tokens[at]
      if (token === '*' || token === '/') value = apply(tokens[at++]!, value, signed())
      else if (token === '(' || (token !== undefined && token === variable?.name)) value = apply('*', value, raised())
      else return value
    }
  }
  const signed = (): Rational => {
    if (++depth > MAX_DEPTH) throw new Refusal('nested too deeply')
    const sign = tokens[at] === '-' || tokens[at] === '+' ? tokens[at++]! : '+'
    const value = tokens[at] === '-' || tokens[at] === '+' ? signed() : raised()
    depth--
    return sign === '-' ? negate(value) : value
  }
  const raised = (): Rational => {
    const base = atom()
    if (tokens[at] !== '^') return base
    at++
    return apply('^', base, signed())
  }
  const atom = (): Rational => {
    const token = tokens[at++]
    if (token === undefined) throw new Refusal('it ends too early')
    if (token === '(') {
      const value = sum()
      if (tokens[at++] !== ')') throw new Refusal('unbalanced brackets')
      return value
    }
    if (variable && token === variable.name) return variable.value
    const value = fromDecimal(token)
    if (value === null) throw new Refusal(`unexpected ${JSON.stringify(token)}`)
    numbers.push(token)
    return value
  }

  try {
    if (text.length > MAX_CHARACTERS) throw new Refusal('too long')
    tokens = tokenise(text)
    if (tokens.length === 0) throw new Refusal('empty')
    const value = sum()
    if (at < tokens.length) throw new Refusal(`unexpected ${JSON.stringify(tokens[at])}`)
    return { kind: 'value', value, numbers, operations }
  } catch (error) {
    if (error instanceof Refusal) return { kind: 'unreadable', why: error.message }
    throw error
  }
}
