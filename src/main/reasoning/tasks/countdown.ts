/**
 * Countdown: `Use 3, 5, 7 to make 22.` The answer is an expression that uses each number at most once; the thought tries
 * combinations and says after each whether it reached the target.
 */
import type { Random } from '../../../shared/random.ts'
import type { Task } from '../../../shared/task.ts'
import { locateAnswer } from '../answer.ts'
import { evaluate } from '../expression.ts'
import { plainNotation } from '../notation.ts'
import { integer, same } from '../rational.ts'
import { draw, familyData, familyTask, levelOf, type Family } from './family.ts'

type Level = { numbers: number; max: number; target: number; signs: string }
type Data = { readonly numbers: readonly number[]; readonly target: number; readonly signs: string }

const LEVELS: readonly Level[] = [
  { numbers: 2, max: 9, target: 18, signs: '+-' },
  { numbers: 2, max: 9, target: 81, signs: '+-*' },
  { numbers: 3, max: 9, target: 27, signs: '+-' },
  { numbers: 3, max: 9, target: 99, signs: '+-*' },
  { numbers: 4, max: 9, target: 99, signs: '+-*' },
  { numbers: 4, max: 12, target: 99, signs: '+-*/' }
]
const beyond = (difficulty: number): Level => ({
  numbers: 5,
  max: Math.min(50, 6 + difficulty),
  target: Math.min(999, 100 * (difficulty - 6)),
  signs: '+-*/'
})

/** A value, how it is written, and the steps that led to it; `rank` is that of its outermost operation: 1 sum, 2 product, 3 a number. */
type Term = { readonly value: number; readonly text: string; readonly rank: number; readonly steps: readonly string[] }

const number = (value: number): Term => ({ value, text: String(value), rank: 3, steps: [] })

/** Only steps with positive whole results are taken, and the larger number comes first. */
const COMBINE: ReadonlyMap<string, { rank: number; of: (a: number, b: number) => number | null }> = new Map([
  ['+', { rank: 1, of: (a: number, b: number) => a + b }],
  ['-', { rank: 1, of: (a: number, b: number) => (a > b ? a - b : null) }],
  ['*', { rank: 2, of: (a: number, b: number) => a * b }],
  ['/', { rank: 2, of: (a: number, b: number) => (a % b === 0 && b > 1 ? a / b : null) }]
])

function combine(one: Term, other: Term, sign: string): Term | null {
  const [a, b] = one.value >= other.value ? [one, other] : [other, one]
  const { rank, of } = COMBINE.get(sign)!
  const value = of(a.value, b.value)
  if (value === null) return null
  const left = a.rank < rank ? `(${a.text})` : a.text
  const right = b.rank < rank || (b.rank === rank && '-/'.includes(sign)) ? `(${b.text})` : b.text
  const step = `${a.value}${sign}${b.value}=${value}`
  return { value, text: left + sign + right, rank, steps: [...a.steps, ...b.steps, step] }
}

/** The first way to the target, depth first; null when there is none. */
function search(terms: readonly Term[], target: number, signs: string): Term | null {
  for (let i = 0; i < terms.length; i++) {
    for (let j = i + 1; j < terms.length; j++) {
      for (const sign of signs) {
        const term = combine(terms[i]!, terms[j]!, sign)
        if (!term) continue
        if (term.value === target) return term
        const rest = terms.filter((_, k) => k !== i && k !== j)
        const further = rest.length > 0 ? search([term, ...rest], target, signs) : null
        if (further) return further
      }
    }
  }
  return null
}

/** Two numbers alone make the target: too easy for a level that gives more. */
const pairReaches = ({ numbers, target, signs }: Data): boolean =>
  numbers.some((a, i) =>
    numbers.some((b, j) => j > i && [...signs].some((sign) => combine(number(a), number(b), sign)?.value === target))
  )

/** Combines all numbers at random: how tasks are made, and what a failed try looks like. null: not possible, or over `limit`. */
function wander(numbers: readonly number[], signs: string, limit: number, random: Random): Term | null {
  let terms = numbers.map(number)
  while (terms.length > 1) {
    const i = random.integer(0, terms.length - 1)
    const j = (i + random.integer(1, terms.length - 1)) % terms.length
    const term = combine(terms[i]!, terms[j]!, signs[random.integer(0, signs.length - 1)]!)
    if (!term || term.value > limit) return null
    terms = [term, ...terms.filter((_, k) => k !== i && k !== j)]
  }
  return terms[0]!
}

const solution = ({ numbers, target, signs }: Data): Term => {
  const term = search(numbers.map(number), target, signs)
  if (!term) throw new TypeError(`no way from ${numbers.join(', ')} to ${target}`)
  return term
}

/** Exactly evaluated; every literal must be one of the numbers, each used at most once; no powers. */
function reaches(expression: string, { numbers, target }: Data): boolean {
  if (expression.includes('^') || expression.includes('**')) return false
  const result = evaluate(expression)
  if (result.kind === 'unreadable' || !same(result.value, integer(target))) return false
  const left = [...numbers]
  return result.numbers.every((literal) => {
    const at = /^\d+$/.test(literal) ? left.indexOf(Number(literal)) : -1
    return at >= 0 && left.splice(at, 1).length === 1
  })
}

export const countdown: Family = {
  name: 'countdown',
  generate(difficulty, random) {
    const level = levelOf(LEVELS, difficulty, beyond)
    return draw(() => {
      const numbers = Array.from({ length: level.numbers }, () => random.integer(1, level.max))
      const target = wander(numbers, level.signs, 2 * level.target, random)?.value
      if (target === undefined || target > level.target || numbers.includes(target)) return null
      const data: Data = { numbers, target, signs: level.signs }
      if (numbers.length > 2 && pairReaches(data)) return null
      return familyTask('countdown', difficulty, {
        prompt: `Use ${numbers.join(', ')} to make ${target}.`,
        solution: solution(data).text,
        data
      })
    })
  },
  solve: (task) => solution(familyData<Data>(task, 'countdown')).text,
  teach(task, random) {
    const data = familyData<Data>(task, 'countdown')
    const tries: string[] = []
    for (let i = random.integer(0, 2); i > 0; i--) {
      const term = wander(data.numbers, data.signs, 2 * Math.max(50, data.target), random)
      if (term && term.value !== data.target) tries.push(`${term.steps.join(', ')} no`)
    }
    const { steps, text } = solution(data)
    tries.push(`${steps.join(', ')} yes`)
    return { thinking: tries.join('; '), answer: `\\boxed{${text}}` }
  },
  /** `3*5+7` or `3*5+7=22`. */
  check(task: Task, answerText: string) {
    const data = familyData<Data>(task, 'countdown')
    const found = locateAnswer(answerText)
    if (found.kind === 'unreadable') return found
    const plain = plainNotation(found.raw).replace(/\\frac\s*\{([^{}]*)\}\s*\{([^{}]*)\}/g, '(($1)/($2))')
    const [expression = '', ...results] = plain.split('=')
    const says = results.every((result) => result.trim() === String(data.target))
    return { kind: says && reaches(expression, data) ? 'correct' : 'wrong' }
  }
}
