/** A rollout that a run recorded, with what it was graded by: its task, the run's reward settings, the rewards of its group. */
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { parse } from 'yaml'
import type { RecordedRollout } from '../../shared/contract/play.ts'
import { AppError } from '../../shared/errors.ts'
import type { SampleRow } from '../../shared/event.ts'
import { GrpoRecipe } from '../../shared/recipe.ts'
import type { Task } from '../../shared/task.ts'
import type { RunRow } from '../data/store/runs.ts'
import { loadTasks } from '../policy/tasksets.ts'
import type { Host } from './host.ts'
import { placesOf } from './run-folder.ts'
import { existing } from './run-start.ts'

export type Group = { readonly taskId: string; readonly prompt: string; readonly rows: readonly SampleRow[] }

/** The recorded groups of a step, in the order they were sampled. */
export const groupsOf = (rows: readonly SampleRow[]): Group[] =>
  [...Map.groupBy(rows, ({ taskId }) => taskId)].map(([taskId, own]) => ({ taskId, prompt: own[0]!.prompt, rows: own }))

type Asked = { readonly run: string; readonly step: number; readonly group: number; readonly row: number }

/** Reads rollouts; the tasks of the run that was asked for last are kept. */
export function rolloutReader(host: Host): (asked: Asked) => RecordedRollout {
  let last: { id: string; recipe: GrpoRecipe; tasks: ReadonlyMap<string, Task> } | undefined
  const trained = (row: RunRow): NonNullable<typeof last> => {
    if (last?.id === row.id) return last
    const recipe = recipeOf(row)
    return (last = { id: row.id, recipe, tasks: tasksOf(recipe) })
  }
  return ({ run, step, group, row: place }) => {
    const run_ = existing(host, run)
    const found = groupsOf(host.store.events.samples(run_.number, step))[group]
    const row = found?.rows[place]
    if (found === undefined || row === undefined)
      throw new AppError('usage', 'there is no such rollout', 'Pick one of those that the run recorded.')
    const { recipe, tasks } = trained(run_)
    const task = tasks.get(found.taskId)
    return {
      prompt: row.prompt,
      completion: row.text,
      solution: task?.solution ?? null,
      check: task?.check ?? { kind: 'equal' },
      length: row.length,
      ended: row.stop === 'eos',
      tokens: row.tokens === undefined ? null : [...row.tokens],
      max_completion_length: recipe.max_completion_length,
      reward: recipe.reward,
      recorded: row.reward,
      group: { rewards: found.rows.map(({ reward }) => reward), place, scale_rewards: recipe.scale_rewards }
    }
  }
}

function recipeOf(row: RunRow): GrpoRecipe {
  const folder = placesOf(row).find(({ name }) => name === 'grpo' || name === '')?.folder ?? row.folder
  const file = join(folder, 'recipe.yaml')
  const read = existsSync(file) ? GrpoRecipe.safeParse(parse(readFileSync(file, 'utf8'))) : undefined
  if (read?.success !== true)
    throw new AppError('usage', `the recipe of ${row.name} cannot be read`, 'Paste the completion instead.')
  return read.data
}

/** Empty where the files of the tasks are gone: the completion is still worth looking at. */
function tasksOf({ tasks }: GrpoRecipe): ReadonlyMap<string, Task> {
  try {
    return new Map(loadTasks(tasks).map((task) => [task.id, task]))
  } catch {
    return new Map()
  }
}
