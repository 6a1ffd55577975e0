/** Traces as messages JSONL, the file that `sft` learns from: from a task file's worked solutions, or any teacher's. */
import { AppError } from '../../../shared/errors.ts'
import type { Trace } from '../../../shared/task.ts'
import { readTasks } from '../../reasoning/tasks/index.ts'

export type PromptedTrace = Trace & { readonly prompt: string }

/** One conversation a line; the thought stands in `reasoning_content`, so that no tag needs to be escaped. */
export function traceLines(traces: readonly PromptedTrace[]): string {
  const line = ({ prompt, thinking, answer }: PromptedTrace): string =>
    JSON.stringify({
      messages: [
        { role: 'user', content: prompt },
        { role: 'assistant', reasoning_content: thinking, content: answer }
      ]
    })
  return traces.map((trace) => `${line(trace)}\n`).join('')
}

/**
 * The worked solutions of a task file as traces, `skip` tasks left out and at most `limit` taken. Throws AppError('data')
 * when no row holds a worked solution.
 */
export function workedTraces(
  text: string,
  options: { readonly source: string; readonly format?: string; readonly skip?: number; readonly limit?: number }
): PromptedTrace[] {
  const { skip = 0, limit = Infinity } = options
  const rows = readTasks(text, options).rows.slice(skip, skip + limit)
  const traces = rows.flatMap(({ task, worked }) => (worked ? [{ prompt: task.prompt, ...worked }] : []))
  if (traces.length > 0) return traces
  throw new AppError(
    'data',
    `${options.source}: no row has a worked solution to teach`,
    'GSM8K files have them in `answer`.'
  )
}
