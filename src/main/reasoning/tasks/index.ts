/** All there is: the generated families by name, and the file formats. To add one, write its file and add its line. */
import { AppError } from '../../../shared/errors.ts'
import { seeded } from '../../../shared/random.ts'
import type { Task } from '../../../shared/task.ts'
import { arithmetic } from './arithmetic.ts'
import { chain } from './chain.ts'
import { countdown } from './countdown.ts'
import type { Family } from './family.ts'
import { readGsm8k } from './gsm8k.ts'
import { parseLines, readJsonl, type JsonRow, type ReadRow, type TaskFile } from './jsonl.ts'
import { linear } from './linear.ts'
import { readMultiArith } from './multiarith.ts'
import { readPromptSolution } from './prompt-solution.ts'
import { readSvamp } from './svamp.ts'

export type { Family } from './family.ts'
export type { Rejection, TaskFile, TaskRow } from './jsonl.ts'

export const FAMILIES: ReadonlyMap<string, Family> = new Map(
  [arithmetic, countdown, linear, chain].map((family) => [family.name, family])
)

/** The family of that name. Throws AppError `data` for a name that is none. */
export function familyOf(name: string): Family {
  const family = FAMILIES.get(name)
  if (!family)
    throw new AppError(
      'data',
      `no family is called ${JSON.stringify(name)}`,
      `families: ${[...FAMILIES.keys()].join(', ')}`
    )
  return family
}

/** Draws per task before a repeat is accepted: easy levels have only some hundred different tasks. */
const MAX_REDRAWS = 20

/**
 * `count` tasks of a family, the same for the same arguments, spread evenly over the difficulties. Different ones as far
 * as the level has them; a repeat has the same prompt and an id ending in `~` and its index.
 */
export function generateTasks(source: {
  readonly family: string
  readonly difficulty: number | readonly number[]
  readonly count: number
  readonly seed: number
}): Task[] {
  const family = familyOf(source.family)
  const difficulties = [source.difficulty].flat()
  const seen = new Set<string>()
  return Array.from({ length: source.count }, (_, i) => {
    const difficulty = difficulties[i % difficulties.length]!
    const random = seeded(source.seed, source.family, difficulty, i)
    let task = family.generate(difficulty, random)
    for (let tries = 0; seen.has(task.id) && tries < MAX_REDRAWS; tries++) task = family.generate(difficulty, random)
    if (seen.has(task.id)) return { ...task, id: `${task.id}~${i}` }
    seen.add(task.id)
    return task
  })
}

/** `fields`: what a first row must have for `auto` to choose the format; the first that fits is taken. */
const FORMATS: ReadonlyMap<string, { readonly fields: readonly string[]; readonly read: ReadRow }> = new Map([
  ['svamp', { fields: ['Body', 'Question', 'Answer'], read: readSvamp }],
  ['multiarith', { fields: ['input', 'target'], read: readMultiArith }],
  ['prompt_solution', { fields: ['prompt', 'solution'], read: readPromptSolution }],
  ['gsm8k', { fields: ['question', 'answer'], read: readGsm8k }]
])

const isGsm8k = (row: JsonRow): boolean => typeof row['answer'] === 'string' && row['answer'].includes('####')

function detect(text: string): string {
  const row = parseLines(text).rows[0]?.row ?? {}
  const has = (fields: readonly string[]): boolean => fields.every((field) => Object.hasOwn(row, field))
  if (has(['problem', 'answer']) || (has(['question', 'answer']) && !isGsm8k(row))) return 'prompt_solution'
  return [...FORMATS].find(([, { fields }]) => has(fields))?.[0] ?? 'prompt_solution'
}

/**
 * The tasks of a JSONL text. `source` names it in ids and messages. Lines that are no task come back as rejections;
 * AppError `data` when the text is empty or holds no task at all, or the format is unknown.
 */
export function readTasks(text: string, options: { readonly source: string; readonly format?: string }): TaskFile {
  const asked = options.format ?? 'auto'
  const format = FORMATS.get(asked === 'auto' ? detect(text) : asked)
  if (!format)
    throw new AppError(
      'data',
      `no format is called ${JSON.stringify(asked)}`,
      `formats: auto, ${[...FORMATS.keys()].join(', ')}`
    )
  const file = readJsonl(text, options.source, format.read)
  const first = file.rejections[0]
  if (file.rows.length === 0 && first) {
    throw new AppError('data', `${options.source} holds no task; line ${first.line}: ${first.why}`)
  }
  return file
}
