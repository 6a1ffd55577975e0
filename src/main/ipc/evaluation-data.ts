/** The graded answers of a run with a person's own verdicts laid over them, and the tasks they answer. */
import { existsSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { parse } from 'yaml'
import { AppError } from '../../shared/errors.ts'
import type { Task } from '../../shared/task.ts'
import { EvaluateRecipe } from '../../shared/recipe.ts'
import { readAnswers } from '../evaluation/answers.ts'
import type { Answer } from '../evaluation/answers.ts'
import type { StageResult } from '../evaluation/report/data.ts'
import { stageResults } from '../evaluation/results.ts'
import { loadTasks } from '../policy/tasksets.ts'
import type { HandVerdict, Judged } from '../data/store/judgements.ts'
import type { RunRow } from '../data/store/runs.ts'
import type { Host } from './host.ts'
import { answersFolder } from './run-folder.ts'

export type JudgedAnswer = Answer & { readonly byHand: HandVerdict | null }

export type EvaluationData = {
  readonly answers: readonly JudgedAnswer[]
  /** Of `answers`, by policy and taskset; the same objects as long as nothing changed. */
  readonly results: readonly StageResult[]
  readonly handJudged: number
  /** By taskset and task id; empty where the tasks' files are gone. */
  readonly task: (taskset: string, taskId: string) => Task | undefined
}

export const keyOf = (taskset: string, task: string, policy: string, repeat: number): string =>
  JSON.stringify([taskset, task, policy, repeat])

export type EvaluationReader = (row: RunRow) => EvaluationData
type Read = {
  readonly stamp: string
  readonly verdicts: string
  readonly answers: readonly Answer[]
  readonly tasks: ReadonlyMap<string, Task>
  readonly data: EvaluationData
}
/** As many runs as can be compared at once. */
const KEPT = 8

/**
 * Reads a run's answers; what was read is kept until the file grows or a verdict is given, a few runs at a time. Throws
 * AppError('usage') where a run has none.
 */
export function evaluationReader(host: Host): EvaluationReader {
  const kept = new Map<string, Read>()
  return (row) => {
    const folder = answersFolder(row)
    const file = join(folder, 'answers.jsonl')
    const found = statSync(file, { throwIfNoEntry: false })
    if (found === undefined) {
      throw new AppError(
        'usage',
        `${row.name} holds no graded answers`,
        'Only evaluations and the demo do, once their first block is graded.'
      )
    }
    const judged = host.store.judgements.of(row.number)
    const [stamp, verdicts] = [`${found.size}/${found.mtimeMs}`, JSON.stringify(judged)]
    const before = kept.get(row.id)
    kept.delete(row.id)
    const fresh = (): Read => {
      const answers = before?.stamp === stamp ? before.answers : readAnswers(file)
      const tasks = before?.tasks ?? tasksOf(folder)
      return { stamp, verdicts, answers, tasks, data: dataOf(answers, judged, tasks) }
    }
    const read = before?.stamp === stamp && before.verdicts === verdicts ? before : fresh()
    kept.set(row.id, read)
    for (const id of [...kept.keys()].slice(0, -KEPT)) kept.delete(id)
    return read.data
  }
}

function dataOf(recorded: readonly Answer[], judged: readonly Judged[], tasks: Read['tasks']): EvaluationData {
  const verdicts = new Map(judged.map((one) => [keyOf(one.taskset, one.task, one.policy, one.repeat), one.verdict]))
  const answers = recorded.map((answer) => {
    const byHand = verdicts.get(keyOf(answer.taskset, answer.taskId, answer.policy, answer.run)) ?? null
    return byHand === null ? { ...answer, byHand } : { ...answer, verdict: byHand, byHand }
  })
  return {
    answers,
    results: stageResults(answers),
    handJudged: judged.length,
    task: (taskset, taskId) => tasks.get(JSON.stringify([taskset, taskId]))
  }
}

/** Prompts and solutions are not in the answers: the recipe says where the tasks came from. */
function tasksOf(folder: string): ReadonlyMap<string, Task> {
  const file = join(folder, 'recipe.yaml')
  if (!existsSync(file)) return new Map()
  try {
    const recipe = EvaluateRecipe.parse(parse(readFileSync(file, 'utf8')))
    return new Map(
      recipe.tasksets.flatMap(({ name, tasks }) =>
        loadTasks(tasks).map((task) => [JSON.stringify([name, task.id]), task] as const)
      )
    )
  } catch {
    return new Map() // task files may be gone by now: the answers are still worth reading
  }
}
