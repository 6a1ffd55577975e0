/** Linear equations in x with an integer solution: `Solve 3(x+2)=x+10.` The thought expands, collects, divides. */
import { evaluate } from '../expression.ts'
import { add, divide, integer, negate, show, subtract, type Rational } from '../rational.ts'
import { checkNumber, draw, familyData, familyTask, levelOf, type Family } from './family.ts'

/** factor·(x + inner) + plus = right·x + constant; `bracket`: written with the bracket. */
type Data = { factor: number; inner: number; plus: number; right: number; constant: number; bracket: boolean }
type Range = readonly [number, number]
type Level = { factor: Range; inner: Range; plus: Range; right: Range; x: Range; bracket: boolean }

const NONE: Range = [0, 0]
const LEVELS: readonly Level[] = [
  { factor: [1, 1], inner: NONE, plus: [1, 9], right: NONE, x: [1, 9], bracket: false },
  { factor: [2, 9], inner: NONE, plus: NONE, right: NONE, x: [2, 9], bracket: false },
  { factor: [2, 9], inner: NONE, plus: [1, 9], right: NONE, x: [1, 9], bracket: false },
  { factor: [3, 9], inner: NONE, plus: [1, 9], right: [1, 7], x: [1, 9], bracket: false },
  { factor: [2, 6], inner: [1, 6], plus: NONE, right: NONE, x: [1, 9], bracket: true },
  { factor: [3, 8], inner: [1, 6], plus: NONE, right: [1, 6], x: [-5, 9], bracket: true }
]
const beyond = (difficulty: number): Level => {
  const more = 3 * (difficulty - 6)
  return {
    factor: [3, 8 + more],
    inner: [-6 - more, 6 + more],
    plus: [-9 - more, 9 + more],
    right: [1, 6 + more],
    x: [-9 - more, 9 + more],
    bracket: true
  }
}

const signed = (value: number): string => (value < 0 ? String(value) : `+${value}`)
/** `3x+4`, `x-2`, `7`. */
const side = (slope: number, constant: number): string => {
  if (slope === 0) return String(constant)
  const x = slope === 1 ? 'x' : slope === -1 ? '-x' : `${slope}x`
  return constant === 0 ? x : `${x}${signed(constant)}`
}

const equation = ({ factor, inner, plus, right, constant, bracket }: Data): string => {
  const left = bracket
    ? `${factor}(x${signed(inner)})${plus === 0 ? '' : signed(plus)}`
    : side(factor, factor * inner + plus)
  return `${left}=${side(right, constant)}`
}

const value = (text: string, x: Rational): Rational => {
  const result = evaluate(text, { name: 'x', value: x })
  if (result.kind === 'unreadable') throw new TypeError(`${text}: ${result.why}`)
  return result.value
}

export const linear: Family = {
  name: 'linear',
  generate(difficulty, random) {
    const level = levelOf(LEVELS, difficulty, beyond)
    return draw(() => {
      const between = ([low, high]: Range): number => random.integer(low, high)
      const x = between(level.x)
      const [factor, inner, plus, right] = [level.factor, level.inner, level.plus, level.right].map(between)
      if (factor! <= right! || (level.bracket && inner === 0)) return null
      const constant = factor! * (x + inner!) + plus! - right! * x
      if (right === 0 && constant < 0 && difficulty < 6) return null
      const data: Data = {
        factor: factor!,
        inner: inner!,
        plus: plus!,
        right: right!,
        constant,
        bracket: level.bracket
      }
      return familyTask('linear', difficulty, { prompt: `Solve ${equation(data)}.`, solution: String(x), data })
    })
  },
  /** Two evaluations of both sides: left − right is a line, and its root follows from its values at 0 and 1. */
  solve(task) {
    const [left = '', right = ''] = task.prompt.replace(/^Solve |\.$/g, '').split('=')
    const gap = (x: Rational): Rational => subtract(value(left, x), value(right, x))
    const at0 = gap(integer(0))
    const slope = add(gap(integer(1)), negate(at0))
    return show(divide(negate(at0), slope)!)
  },
  teach(task) {
    const data = familyData<Data>(task, 'linear')
    const { factor, inner, plus, right, constant, bracket } = data
    const steps: string[] = []
    const left = factor * inner + plus
    if (bracket) steps.push(`${side(factor, left)}=${side(right, constant)}`)
    const [slope, rest] = [factor - right, constant - left]
    const moved = left === 0 ? '' : `${constant}${signed(-left)}=`
    if (right !== 0) steps.push(`${factor}x-${side(right, 0)}=${side(slope, 0)}`)
    if (left !== 0 || right !== 0) steps.push(`${side(slope, 0)}=${moved}${rest}`)
    if (slope !== 1) steps.push(`x=${rest}/${slope}=${rest / slope}`)
    return { thinking: steps.join('; '), answer: `\\boxed{${rest / slope}}` }
  },
  check: checkNumber
}
