/** What a generated family of tasks is, and what families share. */
import type { Random } from '../../../shared/random.ts'
import type { Task, Trace, Verdict } from '../../../shared/task.ts'
import { extractAnswer } from '../answer.ts'
import { fromDecimal, same } from '../rational.ts'

export type Family = {
  readonly name: string
  /** A task of this difficulty (1 is very easy; every positive integer is allowed). Equal tasks have equal ids. */
  readonly generate: (difficulty: number, random: Random) => Task
  /** The solution found anew from the prompt or the task's data, without looking at `solution`. */
  readonly solve: (task: Task) => string
  /** A correct worked thought and its answer, in few tokens; `random` varies what may be varied. */
  readonly teach: (task: Task, random: Random) => Trace
  readonly check: (task: Task, answerText: string) => Verdict
}

/** A stable id from what the task says: `source/` and 64 bits of FNV-1a in hex. */
export function taskId(source: string, content: string): string {
  let [high, low] = [0x811c9dc5, 0x01000193]
  for (let i = 0; i < content.length; i++) {
    const code = content.charCodeAt(i)
    high = Math.imul(high ^ code, 0x01000193)
    low = Math.imul(low ^ (code + i), 0x85ebca6b)
  }
  return `${source}/${[high, low].map((part) => (part >>> 0).toString(16).padStart(8, '0')).join('')}`
}

/** The task of a family from what was generated. */
export function familyTask(
  family: string,
  difficulty: number,
  { prompt, solution, data }: { prompt: string; solution: string; data: unknown }
): Task {
  return {
    id: taskId(family, prompt),
    source: family,
    prompt,
    solution,
    check: { kind: 'family', family, data },
    difficulty
  }
}

/** The data a task of this family carries. Throws when the task is of another kind: a bug of the caller. */
export function familyData<Data>(task: Task, family: string): Data {
  if (task.check.kind !== 'family' || task.check.family !== family)
    throw new TypeError(`${task.id} is no ${family} task`)
  return task.check.data as Data
}

/** The settings of a difficulty: a row of the table, or past its end what `beyond` makes of it. */
export const levelOf = <Level>(
  levels: readonly Level[],
  difficulty: number,
  beyond: (difficulty: number) => Level
): Level => levels[Math.max(1, Math.floor(difficulty)) - 1] ?? beyond(Math.floor(difficulty))

/** Draws until one is accepted. Throws after 10,000 draws: a level that cannot be met is a bug. */
export function draw<T>(make: () => T | null): T {
  for (let i = 0; i < 10000; i++) {
    const made = make()
    if (made !== null) return made
  }
  throw new Error('no task of this difficulty was found')
}

/** The answer must be the number itself, written out: repeating the sum from the prompt is not an answer. */
export function checkNumber(task: Task, answerText: string): Verdict {
  const found = extractAnswer(answerText)
  if (found.kind === 'unreadable') return found
  const { value } = found
  if (value.kind !== 'number' || value.computed || value.percent) return { kind: 'wrong' }
  return { kind: same(value.value, fromDecimal(task.solution)!) ? 'correct' : 'wrong' }
}
