/**
 * Whether an answer equals the gold solution, by a cascade: text, number, list, symbols. Every step that was tried says
 * what it found. The symbolic step is handed in (it runs in a process that can be killed); without it the cascade is
 * synchronous and leaves such pairs undecided.
 *
 * Tolerance: exactly written numbers (integers, fractions) must be equal exactly. Where one side has a decimal point or
 * exponent, |gold − answer| ≤ 1e-6 · min(1, 1000·|gold|) is equal (six decimals, and relatively for tiny numbers); two
 * whole numbers are always compared exactly. A percent sign on one side only matches both readings: 25% is 25 and 0.25.
 */
import { looksMathematical } from './notation.ts'
import { absolute, atMost, integer, multiply, rational, same, show, subtract, type Rational } from './rational.ts'
import { hundredth, readValue, type Value } from './value.ts'

export type Outcome = 'equal' | 'different' | 'undecided'
export type Step = {
  readonly step: 'text' | 'number' | 'list' | 'symbols'
  readonly outcome: Outcome
  readonly because: string
}
export type Comparison = { readonly outcome: Outcome; readonly steps: readonly Step[] }

/** Decides two expressions in LaTeX, gold first. */
export type Symbolic = (gold: string, answer: string) => Promise<Outcome>

const compact = (plain: string): string => {
  const text = plain.replace(/(?<!\d)\s+|\s+(?!\d)/g, '').replace(/^\{(.*)\}$/, '$1')
  return looksMathematical(plain) ? text : text.toLowerCase()
}

const isWhole = (value: Rational): boolean => value.denominator === 1n

function close(gold: Rational, answer: Rational): boolean {
  const small = multiply(absolute(gold), integer(1000))
  const scale = atMost(small, integer(1)) ? small : integer(1)
  return atMost(absolute(subtract(gold, answer)), multiply(rational(1n, 1000000n)!, scale))
}

type NumberValue = Extract<Value, { kind: 'number' }>

function compareNumbers(gold: NumberValue, answer: NumberValue): Step {
  const readings: [Rational, Rational][] = [[gold.value, answer.value]]
  if (gold.percent && !answer.percent) readings.push([hundredth(gold.value), answer.value])
  if (!gold.percent && answer.percent) readings.push([gold.value, hundredth(answer.value)])
  const exact = readings.some(([a, b]) => same(a, b))
  if (answer.computed && !gold.computed) {
    return { step: 'number', outcome: 'different', because: `${answer.plain} is a computation left undone` }
  }
  if (exact) return { step: 'number', outcome: 'equal', because: `${show(gold.value)} exactly` }
  const near = readings.some(([a, b]) => (gold.decimal || answer.decimal) && !(isWhole(a) && isWhole(b)) && close(a, b))
  if (near) return { step: 'number', outcome: 'equal', because: 'within 1e-6' }
  return {
    step: 'number',
    outcome: 'different',
    because: `${show(gold.value)} is not ${show(answer.value)}`.slice(0, 200)
  }
}

type ListValue = Extract<Value, { kind: 'list' }>

/** Ordered when either side is a tuple or an interval, otherwise as multisets. */
function compareLists(gold: ListValue, answer: ListValue): Step {
  const say = (outcome: Outcome, because: string): Step => ({ step: 'list', outcome, because })
  if (gold.brackets && answer.brackets && gold.brackets !== answer.brackets) return say('different', 'other brackets')
  if (gold.items.length !== answer.items.length) return say('different', 'other number of items')
  const ordered = [gold.brackets, answer.brackets].some((brackets) => brackets !== '' && brackets !== '{}')
  const left = [...answer.items]
  let open = false
  for (const item of gold.items) {
    const outcomes = (ordered ? left.slice(0, 1) : left).map((other) => compareValues(item, other).outcome)
    const at = outcomes.indexOf('equal')
    if (at >= 0) left.splice(at, 1)
    else if (outcomes.includes('undecided')) {
      open = true
      left.splice(outcomes.indexOf('undecided'), 1)
    } else return say('different', `nothing equals ${item.plain}`)
  }
  return open ? say('undecided', 'some items need symbols') : say('equal', `all ${gold.items.length} items`)
}

function compareValues(gold: Value, answer: Value): Comparison {
  const text: Step = {
    step: 'text',
    outcome: compact(gold.plain) === compact(answer.plain) ? 'equal' : 'undecided',
    because: compact(gold.plain) === compact(answer.plain) ? 'the same text' : 'other text'
  }
  if (text.outcome === 'equal') return { outcome: 'equal', steps: [text] }
  const last: Step | null =
    gold.kind === 'number' && answer.kind === 'number'
      ? compareNumbers(gold, answer)
      : gold.kind === 'list' && answer.kind === 'list'
        ? compareLists(gold, answer)
        : (gold.kind === 'list') !== (answer.kind === 'list')
          ? { step: 'list', outcome: 'different', because: 'only one side is a list' }
          : [gold, answer].some((side) => side.kind === 'expression' && !side.mathematical)
            ? { step: 'text', outcome: 'different', because: 'words, and not the same words' }
            : null
  return last ? { outcome: last.outcome, steps: [text, last] } : { outcome: 'undecided', steps: [text] }
}

/** The cascade without symbols: text, numbers, lists. Throws nothing; an unreadable side is `undecided`. */
export function compareAnswers(gold: string, answer: string | Value): Comparison {
  const goldValue = readValue(gold)
  const answerValue = typeof answer === 'string' ? readValue(answer) : answer
  for (const [side, value] of [
    ['gold', goldValue],
    ['answer', answerValue]
  ] as const) {
    if (value.kind === 'unreadable') {
      return { outcome: 'undecided', steps: [{ step: 'text', outcome: 'undecided', because: `${side}: ${value.why}` }] }
    }
  }
  return compareValues(goldValue as Value, answerValue as Value)
}

/** The whole cascade: `symbolic` is asked only where text, numbers and lists decide nothing. */
export async function compareAnswersWith(
  gold: string,
  answer: string | Value,
  symbolic: Symbolic
): Promise<Comparison> {
  const quick = compareAnswers(gold, answer)
  if (quick.outcome !== 'undecided') return quick
  const [goldValue, answerValue] = [readValue(gold), typeof answer === 'string' ? readValue(answer) : answer]
  if (goldValue.kind === 'unreadable' || answerValue.kind === 'unreadable') return quick
  const outcome = await symbolic(goldValue.plain, answerValue.plain)
  return {
    outcome,
    steps: [...quick.steps, { step: 'symbols', outcome, because: `${goldValue.plain} against ${answerValue.plain}` }]
  }
}
