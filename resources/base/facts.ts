/** Elementary facts of arithmetic, in many phrasings. What is to be learned stands between « and ». */
import type { Random } from '../../src/shared/random.ts'

type Fact = { a: number; b: number; sign: '+' | '-' | '*' | '/'; result: number }

/** Most facts are small; sums reach three digits now and then. */
function drawFact(random: Random, easy: boolean): Fact {
  const sign = random.pick(['+', '+', '+', '-', '-', '*', '/'] as const)
  const reach = easy ? 9 : random.pick([9, 9, 9, 20, 50, 99])
  const [x, y] = [random.integer(0, reach), random.integer(0, random.next() < 0.5 ? Math.min(reach, 12) : reach)]
  const [p, q] = [random.integer(1, easy || random.next() < 0.85 ? 9 : 30), random.integer(1, 9)]
  const [m, n] = random.next() < 0.5 ? [p, q] : [q, p]
  if (sign === '+') return { a: x, b: y, sign, result: x + y }
  if (sign === '-') return { a: Math.max(x, y), b: Math.min(x, y), sign, result: Math.abs(x - y) }
  if (sign === '*') return { a: m, b: n, sign, result: m * n }
  return { a: p * q, b: q, sign, result: p }
}

const WORD = { '+': 'plus', '-': 'minus', '*': 'times', '/': 'divided by' } as const
const NAME = { '+': 'sum', '-': 'difference', '*': 'product', '/': 'quotient' } as const

const PHRASES: readonly ((fact: Fact) => string)[] = [
  ({ a, b, sign, result }) => `${a} ${WORD[sign]} ${b} is «${result}»`,
  ({ a, b, sign, result }) => `the ${NAME[sign]} of ${a} and ${b} is «${result}»`,
  ({ a, b, sign, result }) => `What is ${a}${sign}${b}? «${result}»`,
  ({ a, b, sign, result }) => `${a}${sign}${b} = «${result}»`
]

/** Two facts: `7+5=12`, four times of five; else in words. `ease` is the share that stays with single digits. */
export function fact(random: Random, ease: number): string {
  const one = (): string => {
    const drawn = drawFact(random, random.next() < ease)
    if (random.next() < 0.2) return random.pick(PHRASES)(drawn)
    return `${drawn.a}${drawn.sign}${drawn.b}=«${drawn.result}»`
  }
  return `${one()}, ${one()}`
}
