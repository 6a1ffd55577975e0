/** Traces as messages JSONL, the file that `sft` learns from: from a task file's worked solutions, or any teacher's. */
import { AppError } from '../../../shared/errors.ts'
import type { Trace } from '../../../shared/task.ts'
import { taskRows } from './task-rows.ts'
import type { RowRange } from './task-rows.ts'

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
 * for a bad line, and when no row holds a worked solution.
 */
export function workedTraces(text: string, { file, ...range }: RowRange & { readonly file: string }): PromptedTrace[] {
  const traces = taskRows(text, file, range).flatMap(({ task, worked }) =>
    worked ? [{ prompt: task.prompt, ...worked }] : []
  )
  if (traces.length > 0) return traces
  throw new AppError('data', `${file}: no row has a worked solution to teach`, 'GSM8K files have them in `answer`.')
}
