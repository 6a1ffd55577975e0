import { describe, expect, it } from 'vitest'
import { familyOf, FAMILIES, generateTasks } from '../../../src/main/reasoning/tasks/index.ts'
import { judge } from '../../../src/main/reasoning/verdict.ts'
import { evaluate } from '../../../src/main/reasoning/expression.ts'
import { show } from '../../../src/main/reasoning/rational.ts'
import { seeded } from '../../../src/shared/random.ts'
import type { Task } from '../../../src/shared/task.ts'

const SEEDS = 100
const DIFFICULTIES = [1, 2, 3, 4, 5, 6, 7, 9]
const boxed = (text: string | number): string => `\\boxed{${text}}`

describe.each([...FAMILIES.values()])('$name', (family) => {
  const tasks = DIFFICULTIES.flatMap((difficulty) =>
    Array.from({ length: SEEDS }, (_, seed) =>
      family.generate(difficulty, seeded('test', family.name, difficulty, seed))
    )
  )

  it('solver, teacher and checker agree on every task', () => {
    const disagreements = tasks.filter((task, i) => {
      const trace = family.teach(task, seeded('teach', i))
      const answers = [trace.answer, boxed(family.solve(task)), `The answer is ${boxed(task.solution)}.`]
      return trace.thinking.trim() === '' || answers.some((answer) => judge(task, answer).kind !== 'correct')
    })
    expect(disagreements).toEqual([])
  })

  it('every equation in every thought is true', () => {
    let checked = 0
    const untrue = tasks.flatMap((task, i) =>
      family
        .teach(task, seeded('teach', i))
        .thinking.split(/[;,] /)
        .filter((step) => {
          // Units are dropped from chains, `1 box = 3*1 bag = 3 bag` keeps its last two sides; `x=` and `3x=` only name a side.
          const sides = step
            .replace(/ (?:yes|no)$/, '')
            .split('=')
            .map((side) => side.replace(/\b[a-wyz][a-z]+\b/g, '').trim())
          const closed = (family.name === 'chain' ? sides.slice(-2) : sides).filter((side) => !side.includes('x'))
          if (closed.length < 2) return false
          checked++
          const values = closed
            .map((side) => evaluate(side))
            .map((value) => (value.kind === 'value' ? show(value.value) : value.why))
          return new Set(values).size !== 1
        })
        .map((step) => `${task.prompt}: ${step}`)
    )
    expect(untrue).toEqual([])
    expect(checked).toBeGreaterThan(tasks.length * 0.6)
  })

  it('wrong answers are wrong, missing ones unreadable', () => {
    const misjudged = tasks.flatMap((task) => {
      const target =
        task.check.kind === 'family' && family.name === 'countdown'
          ? (task.check.data as { target: number }).target
          : Number(task.solution)
      const wrong = [target + 1, target - 1, -target - 1, `${target}1`].map(boxed)
      return [
        ...wrong.filter((answer) => judge(task, answer).kind !== 'wrong'),
        ...['I do not know.', '\\boxed{}'].filter((answer) => judge(task, answer).kind !== 'unreadable')
      ].map((answer) => `${task.prompt}: ${answer}`)
    })
    expect(misjudged).toEqual([])
  })

  it('is the same for the same seed, and stays inside small numbers', () => {
    const [one, two] = [1, 2].map(() => family.generate(3, seeded(5)))
    expect(one).toEqual(two)
    const easy = tasks.filter((task) => task.difficulty === 1)
    const numbers = easy.flatMap((task) => task.prompt.match(/\d+/g) ?? []).map(Number)
    expect(Math.max(...numbers)).toBeLessThanOrEqual(25)
  })

  it('grows with difficulty', () => {
    const length = (difficulty: number): number => {
      const some = tasks.filter((task) => task.difficulty === difficulty)
      return some.reduce((sum, task) => sum + task.prompt.length, 0) / some.length
    }
    expect(length(3)).toBeGreaterThan(length(1))
    expect(length(6)).toBeGreaterThan(length(3))
    expect(length(9)).toBeGreaterThan(length(6))
  })
})

describe('what the checkers refuse', () => {
  const withData = (family: string, prompt: string, solution: string, data: unknown): Task => ({
    id: 't',
    source: family,
    prompt,
    solution,
    check: { kind: 'family', family, data }
  })
  const use = withData('countdown', 'Use 3, 5, 7 to make 22.', '3*5+7', {
    numbers: [3, 5, 7],
    target: 22,
    signs: '+-*'
  })
  it.each([
    ['3*5+7', 'correct'],
    ['7+5*3', 'correct'],
    ['3*5+7=22', 'correct'],
    ['3 \\times 5 + 7', 'correct'],
    ['3\\cdot5+7 = 22', 'correct'],
    ['(3)(5)+7', 'correct'],
    ['((3*5)+7)', 'correct'],
    ['7-(-3)*5', 'correct'],
    ['22', 'wrong'],
    ['3*5+7=23', 'wrong'],
    ['3*5', 'wrong'],
    ['11*2', 'wrong'],
    ['7+7+5+3', 'wrong'],
    ['3*5+7+0', 'wrong'],
    ['22/1', 'wrong'],
    ['3^3-5', 'wrong'],
    ['37-15', 'wrong'],
    ['3.0*5+7', 'wrong'],
    ['5!-98', 'wrong'],
    ['3*5+7;process.exit()', 'wrong'],
    ['7*5-13', 'wrong'],
    ['3*5+7+7-7', 'wrong'],
    ['22=3*5+7', 'wrong'],
    ['(3*5+7', 'wrong'],
    ['3*5+x', 'wrong'],
    ['3/0', 'wrong']
  ])('countdown: %s is %s', (answer, kind) => {
    expect(judge(use, boxed(answer)).kind).toBe(kind)
  })
  it('countdown allows a number twice only where it was given twice', () => {
    const twice = withData('countdown', '', '4+4', { numbers: [4, 4], target: 8, signs: '+' })
    expect(judge(twice, boxed('4+4')).kind).toBe('correct')
    expect(
      judge(
        { ...twice, check: { kind: 'family', family: 'countdown', data: { numbers: [4, 2], target: 8, signs: '+' } } },
        boxed('4+4')
      ).kind
    ).toBe('wrong')
  })

  const compute = withData('arithmetic', 'Compute 3+7*2.', '17', { expression: '3+7*2' })
  it.each([
    ['17', 'correct'],
    ['17.0', 'correct'],
    ['3+7*2=17', 'correct'],
    ['3+7*2', 'wrong'],
    ['3+14', 'wrong'],
    ['17%', 'wrong'],
    ['(3+7*2)', 'wrong'],
    ['17+0', 'wrong'],
    ['34/2', 'correct']
  ])('arithmetic: %s is %s', (answer, kind) => expect(judge(compute, boxed(answer)).kind).toBe(kind))

  it('an unknown family is an error, also by a name every object has', () => {
    for (const name of ['geometry', 'constructor', '__proto__'])
      expect(() => familyOf(name)).toThrow(/no family is called/)
    expect(() => judge(withData('toString', '', '', null), '1')).toThrow(/no family is called/)
  })
})

describe('generateTasks', () => {
  it('gives the same tasks again, other tasks for another seed, unique ids, all difficulties', () => {
    const source = { family: 'arithmetic', difficulty: [1, 2, 3], count: 300, seed: 4 }
    const tasks = generateTasks(source)
    expect(generateTasks(source)).toEqual(tasks)
    expect(tasks).toHaveLength(300)
    expect(new Set(tasks.map(({ id }) => id)).size).toBe(300)
    expect(new Set(tasks.map(({ difficulty }) => difficulty))).toEqual(new Set([1, 2, 3]))
    const others = new Set(generateTasks({ ...source, seed: 5 }).map(({ id }) => id))
    expect(tasks.filter(({ id }) => others.has(id)).length).toBeLessThan(200)
  })
  it('repeats a task only when its level is used up', () => {
    const prompts = generateTasks({ family: 'linear', difficulty: 2, count: 200, seed: 0 }).map(({ prompt }) => prompt)
    expect(new Set(prompts).size).toBeGreaterThanOrEqual(60) // 8 factors × 8 solutions
    expect(new Set(prompts.slice(0, 30)).size).toBe(30)
  })
})
