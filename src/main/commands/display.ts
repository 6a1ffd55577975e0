/**
 * What a person or a program sees while a job runs. Two displays with one shape: text (bars and tables on a terminal,
 * plain lines elsewhere) and JSON lines. Results go to stdout, everything on the way to stderr.
 */
import type { RunEvent } from '../../shared/event.ts'
import type { ErrorShape } from '../../shared/worker-contract.ts'
import { EXIT_CODES } from '../../shared/errors.ts'
import { createProgress } from './progress.ts'
import { createStepTable } from '../jobs/step-table.ts'

export type Stream = { readonly write: (text: string) => unknown; readonly isTTY?: boolean | undefined }
export type Streams = { readonly out: Stream; readonly err: Stream }

export type Display = {
  readonly event: (event: RunEvent) => void
  /** A line that is not of the run: what Ctrl-C does, where the run lives. */
  readonly note: (text: string) => void
  readonly result: (result: unknown) => void
  readonly error: (error: ErrorShape) => void
  /** Takes the bars off the screen. */
  readonly close: () => void
}

const dim = (text: string, stream: Stream): string => (stream.isTTY ? `\u001b[2m${text}\u001b[22m` : text)
const bold = (text: string, stream: Stream): string => (stream.isTTY ? `\u001b[1m${text}\u001b[22m` : text)

/** One JSON object a line on stdout: every event, then `{"kind":"result",…}` or `{"kind":"error",…}`. */
export function jsonDisplay({ out }: Streams): Display {
  const line = (value: object): unknown => out.write(JSON.stringify(value) + '\n')
  return {
    event: line,
    note: (text) => line({ kind: 'log', level: 'info', text }),
    result: (result) => line({ kind: 'result', result }),
    error: (error) => line({ kind: 'error', exitCode: EXIT_CODES[error.code], ...error }),
    close: () => undefined
  }
}

/** For people. */
export function textDisplay({ out, err }: Streams): Display {
  const progress = createProgress(err)
  const table = createStepTable()
  const say = (text: string): void => progress.line(text)
  let part: 'thinking' | 'answer' | null = null

  const show: { readonly [K in RunEvent['kind']]: (event: Extract<RunEvent, { kind: K }>) => void } = {
    phase: ({ name }) => say(bold(name, err)),
    log: ({ level, text }) => say(level === 'info' ? text : `${level === 'warn' ? 'warning' : 'error'}: ${text}`),
    plan: ({ lines }) => lines.forEach((line) => say(`  ${line}`)),
    step: (event) => table.rows(event).forEach(say),
    evaluation: ({ step, metrics }) => say(`evaluation at step ${step}: ${metricList(metrics)}`),
    checkpoint: ({ step, path }) => say(dim(`checkpoint of step ${step}: ${path}`, err)),
    progress: (event) => progress.update(event),
    text: (event) => {
      if (part !== null && part !== event.part) out.write('\n\n')
      part = event.part
      out.write(event.part === 'thinking' ? dim(event.text, out) : event.text)
    },
    answering: () => undefined, // the playground's, which no command starts
    sample: () => undefined, // many rows: they are in the run's events.jsonl
    end: ({ how, reason }) => say(how === 'done' ? reason : `${how}: ${reason}`)
  }

  return {
    event: (event) => (show[event.kind] as (event: RunEvent) => void)(event),
    note: say,
    result: (result) => {
      progress.close()
      if (part !== null) out.write('\n')
      for (const line of resultLines(result)) out.write(line + '\n')
    },
    error: ({ code, message, hint, stack }) => {
      progress.close()
      err.write(`${code === 'internal' && stack !== undefined ? `unexpected: ${stack}` : message}\n`)
      if (hint !== undefined) err.write(`${hint}\n`)
    },
    close: () => progress.close()
  }
}

const metricList = (metrics: Readonly<Record<string, number>>): string =>
  Object.entries(metrics)
    .map(([name, value]) => `${name} ${Number(value.toPrecision(4))}`)
    .join(' · ')

/** A result's `lines` are for reading; one without them was told in its events. */
function resultLines(result: unknown): readonly string[] {
  const lines = typeof result === 'object' && result !== null ? (result as { lines?: unknown }).lines : undefined
  return Array.isArray(lines) ? lines.map(String) : []
}
