/** JSON lines at the edge: each line becomes a row or a rejection with its number and the reason. */
import { AppError } from '../../../shared/errors.ts'
import type { Task, Trace } from '../../../shared/task.ts'

/** Line numbers count from 1. */
export type Rejection = { readonly line: number; readonly why: string }
export type TaskRow = {
  readonly line: number
  readonly task: Task
  /** A worked solution that came with the task, as a trace to teach with. */
  readonly worked?: Trace
}
export type TaskFile = { readonly rows: readonly TaskRow[]; readonly rejections: readonly Rejection[] }

export type JsonRow = Readonly<Record<string, unknown>>
/** What a format makes of one row: a task, or why not. */
export type ReadRow = (row: JsonRow, source: string) => Omit<TaskRow, 'line'> | { readonly why: string }

/** Every line that holds an object, and every line that does not. Blank lines are skipped. */
export function parseLines(text: string): { rows: { line: number; row: JsonRow }[]; rejections: Rejection[] } {
  const rows: { line: number; row: JsonRow }[] = []
  const rejections: Rejection[] = []
  for (const [index, source] of text
    .replace(/^\ufeff/, '')
    .split(/\r?\n/)
    .entries()) {
    if (source.trim() === '') continue
    const line = index + 1
    try {
      const row: unknown = JSON.parse(source)
      if (typeof row === 'object' && row !== null && !Array.isArray(row)) rows.push({ line, row: row as JsonRow })
      else rejections.push({ line, why: 'not a JSON object' })
    } catch (error) {
      if (!(error instanceof SyntaxError)) throw error
      rejections.push({ line, why: `bad JSON: ${error.message}` })
    }
  }
  return { rows, rejections }
}

/** Tasks of a JSONL text. Ids stay unique: a repeated one gets its line number. Throws AppError `data` on an empty file. */
export function readJsonl(text: string, source: string, read: ReadRow): TaskFile {
  const { rows, rejections } = parseLines(text)
  if (rows.length + rejections.length === 0)
    throw new AppError('data', `${source} is empty`, 'give a file with one JSON object per line')
  const tasks: TaskRow[] = []
  const ids = new Set<string>()
  for (const { line, row } of rows) {
    const made = read(row, source)
    if ('why' in made) {
      rejections.push({ line, why: made.why })
      continue
    }
    const id = ids.has(made.task.id) ? `${made.task.id}~${line}` : made.task.id
    ids.add(id)
    tasks.push({ ...made, task: { ...made.task, id }, line })
  }
  return { rows: tasks, rejections: rejections.sort((a, b) => a.line - b.line) }
}

/** A non-empty string field of the row itself (never of its prototype); null otherwise. */
export function textField(row: JsonRow, name: string): string | null {
  const value = Object.hasOwn(row, name) ? row[name] : undefined
  return typeof value === 'string' && value.trim() !== '' ? value.trim() : null
}

/** A number, or text, as text: `145`, `3/4`. null otherwise. */
export function answerField(row: JsonRow, name: string): string | null {
  const value = Object.hasOwn(row, name) ? row[name] : undefined
  return typeof value === 'number' && Number.isFinite(value) ? String(value) : textField(row, name)
}
