/** Task files as rows: a file with bad lines is refused whole, since a taskset with holes measures and teaches something else. */
import { basename } from 'node:path'
import { AppError } from '../../../shared/errors.ts'
import { readTasks } from '../../reasoning/tasks/index.ts'
import type { TaskRow } from '../../reasoning/tasks/index.ts'

export type RowRange = { readonly skip?: number | undefined; readonly limit?: number | undefined }

/**
 * The rows of a task file's text, `skip` left out first and at most `limit` taken. Throws AppError('data') naming the first
 * bad line, or when no row is left.
 */
export function taskRows(text: string, file: string, range: RowRange = {}, format = 'auto'): readonly TaskRow[] {
  const { rows, rejections } = readTasks(text, { source: basename(file), format })
  const first = rejections[0]
  if (first) {
    throw new AppError(
      'data',
      `${file}:${first.line}: ${first.why} (${rejections.length} bad of ${rows.length + rejections.length} lines)`,
      'Mend or remove these lines.'
    )
  }
  const { skip = 0, limit = Infinity } = range
  const taken = rows.slice(skip, skip + limit)
  if (taken.length === 0)
    throw new AppError('data', `${file}: no task is left after skip ${skip} of ${rows.length}`, 'Lower skip.')
  return taken
}
