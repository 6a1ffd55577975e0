/** The graded answers of a run with a person's own verdicts laid over them, and the tasks they answer. */
import { existsSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { parse } from 'yaml'
import { AppError } from '../../shared/errors.ts'
import type { Task } from '../../shared/task.ts'
import { EvaluateRecipe } from '../../shared/recipe.ts'
import { readAnswers } from '../evaluation/answers.ts'
import type { Answer } from '../evaluation/answers.ts'
import { loadTasks } from '../policy/tasksets.ts'
import type { HandVerdict } from '../data/store/judgements.ts'
import type { RunRow } from '../data/store/runs.ts'
import type { Host } from './host.ts'
import { answersFolder } from './run-folder.ts'

export type JudgedAnswer = Answer & { readonly byHand: HandVerdict | null }

export type EvaluationData = {
  readonly answers: readonly JudgedAnswer[]
  readonly handJudged: number
  /** By taskset and task id; empty where the tasks' files are gone. */
  readonly task: (taskset: string, taskId: string) => Task | undefined
}

export const keyOf = (taskset: string, task: string, policy: string, repeat: number): string =>
  JSON.stringify([taskset, task, policy, repeat])

type Read = { readonly stamp: string; readonly answers: readonly Answer[]; readonly tasks: ReadonlyMap<string, Task> }

/** Reads a run's answers; what was read is kept until the file grows, a few runs at a time. */
export function evaluationReader(host: Host): (row: RunRow) => EvaluationData {
  const kept = new Map<string, Read>()
  const KEPT = 4
  const read = (row: RunRow): Read => {
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
    const stamp = `${found.size}/${found.mtimeMs}`
    const before = kept.get(row.id)
    if (before?.stamp === stamp) return before
    const fresh = { stamp, answers: readAnswers(file), tasks: before?.tasks ?? tasksOf(folder) }
    kept.delete(row.id)
    kept.set(row.id, fresh)
    for (const id of [...kept.keys()].slice(0, -KEPT)) kept.delete(id)
    return fresh
  }
  return (row) => {
    const { answers, tasks } = read(row)
    const judged = host.store.judgements.of(row.number)
    const verdicts = new Map(judged.map((one) => [keyOf(one.taskset, one.task, one.policy, one.repeat), one.verdict]))
    return {
      answers: answers.map((answer) => {
        const byHand = verdicts.get(keyOf(answer.taskset, answer.taskId, answer.policy, answer.run)) ?? null
        return byHand === null ? { ...answer, byHand } : { ...answer, verdict: byHand, byHand }
      }),
      handJudged: judged.length,
      task: (taskset, taskId) => tasks.get(JSON.stringify([taskset, taskId]))
    }
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
