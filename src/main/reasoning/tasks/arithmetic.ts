/** Multi-step arithmetic: `Compute 3+7*2-4.` The thought reduces the expression one operation at a time. */
import { evaluate } from '../expression.ts'
import { show } from '../rational.ts'
import { checkNumber, draw, familyData, familyTask, levelOf, type Family } from './family.ts'

type Level = { terms: number; max: number; signs: readonly string[]; brackets: number; limit: number }
type Data = { readonly expression: string }

const SUMS = ['+', '-']
const ALL = ['+', '-', '*']
/** `limit` bounds every intermediate result; none is negative. */
const LEVELS: readonly Level[] = [
  { terms: 2, max: 9, signs: SUMS, brackets: 0, limit: 18 },
  { terms: 3, max: 9, signs: SUMS, brackets: 0, limit: 27 },
  { terms: 3, max: 9, signs: ALL, brackets: 0, limit: 99 },
  { terms: 4, max: 9, signs: ALL, brackets: 0, limit: 99 },
  { terms: 4, max: 9, signs: ALL, brackets: 1, limit: 99 },
  { terms: 5, max: 12, signs: ALL, brackets: 1, limit: 199 }
]
const beyond = (difficulty: number): Level => ({
  terms: Math.min(12, difficulty - 1),
  max: 12 + 4 * (difficulty - 6),
  signs: ALL,
  brackets: 2,
  limit: 999
})

const CALCULATE: ReadonlyMap<string, (a: number, b: number) => number> = new Map([
  ['+', (a: number, b: number) => a + b],
  ['-', (a: number, b: number) => a - b],
  ['*', (a: number, b: number) => a * b]
])

type Reduction = { readonly step: string; readonly result: number; readonly tokens: readonly string[] }

/** One step: the first operation of the first innermost bracket, products before sums, left to right. */
function reduce(tokens: readonly string[]): Reduction {
  const close = tokens.indexOf(')')
  const open = close < 0 ? -1 : tokens.lastIndexOf('(', close)
  const end = close < 0 ? tokens.length : close
  const within = (signs: string): number => tokens.findIndex((token, i) => i > open && i < end && signs.includes(token))
  const at = within('*') >= 0 ? within('*') : within('+-')
  const [a, sign, b] = [tokens[at - 1]!, tokens[at]!, tokens[at + 1]!]
  const result = CALCULATE.get(sign)!(Number(a), Number(b))
  const alone = open === at - 2 && close === at + 2
  const [from, to] = alone ? [at - 2, at + 3] : [at - 1, at + 2]
  return {
    step: `${a}${sign}${b}=${result}`,
    result,
    tokens: [...tokens.slice(0, from), String(result), ...tokens.slice(to)]
  }
}

function reductions(expression: string): Reduction[] {
  const steps: Reduction[] = []
  let tokens: readonly string[] = expression.match(/\d+|[-+*()]/g) ?? []
  while (tokens.length > 1) {
    const step = reduce(tokens)
    steps.push(step)
    tokens = step.tokens
  }
  return steps
}

export const arithmetic: Family = {
  name: 'arithmetic',
  generate(difficulty, random) {
    const level = levelOf(LEVELS, difficulty, beyond)
    return draw(() => {
      const tokens: string[] = []
      for (let i = 0; i < level.terms; i++) {
        if (i > 0) tokens.push(random.pick(level.signs))
        tokens.push(String(random.integer(1, level.max)))
      }
      for (let i = 0; i < level.brackets; i++) {
        const at = 2 * random.integer(0, level.terms - 2)
        if (tokens.includes('(') && tokens.length < 9) break
        const term = tokens.flatMap((token, j) => (/\d/.test(token) ? [j] : []))[at / 2]!
        if (tokens[term + 1] === ')' || tokens[term + 2] === '(' || tokens[term - 1] === '(') continue
        tokens.splice(term, 3, '(', ...tokens.slice(term, term + 3), ')')
      }
      const expression = tokens.join('')
      if (level.signs.includes('*') && !expression.includes('*')) return null
      if (level.brackets > 0 && !expression.includes('(')) return null
      const steps = reductions(expression)
      if (steps.some(({ result }) => result < 0 || result > level.limit)) return null
      return familyTask('arithmetic', difficulty, {
        prompt: `Compute ${expression}.`,
        solution: String(steps.at(-1)!.result),
        data: { expression } satisfies Data
      })
    })
  },
  solve(task) {
    const result = evaluate(familyData<Data>(task, 'arithmetic').expression)
    if (result.kind === 'unreadable') throw new TypeError(`${task.id}: ${result.why}`)
    return show(result.value)
  },
  teach(task) {
    const steps = reductions(familyData<Data>(task, 'arithmetic').expression)
    const thinking = steps
      .map(({ step, tokens }) => (tokens.length > 1 ? `${step}, ${tokens.join('')}` : step))
      .join('; ')
    return { thinking, answer: `\\boxed{${steps.at(-1)!.result}}` }
  },
  check: checkNumber
}
