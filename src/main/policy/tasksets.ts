/** The tasks a recipe names: files and generated families, in the order given. */
import { readFileSync } from 'node:fs'
import { basename } from 'node:path'
import { AppError } from '../../shared/errors.ts'
import type { TaskSource } from '../../shared/recipe.ts'
import type { Task } from '../../shared/task.ts'
import { generateTasks, readTasks } from '../reasoning/tasks/index.ts'
import type { TaskRow } from '../reasoning/tasks/index.ts'

/** Rows of a task file. Throws AppError('data') naming the first bad line: a taskset with holes measures something else. */
export function taskRows(file: string, format = 'auto'): readonly TaskRow[] {
  let text: string
  try {
    text = readFileSync(file, 'utf8')
  } catch (cause) {
    throw new AppError('data', `${file}: cannot be read`, 'Check the path in the recipe.', { cause })
  }
  const { rows, rejections } = readTasks(text, { source: basename(file), format })
  const first = rejections[0]
  if (first) {
    throw new AppError(
      'data',
      `${file}:${first.line}: ${first.why} (${rejections.length} bad of ${rows.length + rejections.length} lines)`,
      'Mend or remove these lines.'
    )
  }
  return rows
}

/** Throws AppError('data') for an unreadable, malformed or empty source. */
export function loadTasks(sources: readonly TaskSource[]): Task[] {
  return sources.flatMap((source) => {
    if ('family' in source) return generateTasks(source)
    const rows = taskRows(source.file, source.format)
    const tasks = rows
      .slice(source.skip, source.limit === undefined ? undefined : source.skip + source.limit)
      .map((row) => row.task)
    if (tasks.length === 0)
      throw new AppError(
        'data',
        `${source.file}: no task is left after skip ${source.skip} of ${rows.length}`,
        'Lower skip.'
      )
    return tasks
  })
}
