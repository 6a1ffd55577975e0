/** A run's events as the lines of a terminal, coloured with ANSI codes: what the command line shows, for a page. */
import type { Metrics, RunEvent } from '../../shared/event.ts'
import { createStepTable } from './step-table.ts'

const sgr =
  (on: number, off: number) =>
  (text: string): string =>
    `\u001b[${on}m${text}\u001b[${off}m`
const bold = sgr(1, 22)
const dim = sgr(2, 22)
const red = sgr(31, 39)
const green = sgr(32, 39)
const yellow = sgr(33, 39)
const cyan = sgr(36, 39)

const LEVELS: Readonly<Record<'info' | 'warn' | 'error', (text: string) => string>> = {
  info: (text) => text,
  warn: (text) => yellow(`warning: ${text}`),
  error: (text) => red(`error: ${text}`)
}
const ENDS: Readonly<Record<string, (text: string) => string>> = {
  done: green,
  stopped: yellow,
  cancelled: yellow,
  failed: red
}

/** Makes lines of events as they come; one per run, because the table of steps says its head again at times. */
export function terminalLines(): (event: RunEvent) => readonly string[] {
  let table = createStepTable()
  const show: { readonly [K in RunEvent['kind']]: (event: Extract<RunEvent, { kind: K }>) => readonly string[] } = {
    phase: ({ name }) => {
      table = createStepTable() // a stage of another kind has other columns
      return [bold(cyan(name))]
    },
    log: ({ level, text }) => text.split('\n').map(LEVELS[level]),
    plan: ({ lines }) => lines.map((line) => dim(`  ${line}`)),
    step: (event) => table.rows(event),
    evaluation: ({ step, metrics }) => [bold(`evaluation at step ${step}: ${metricList(metrics)}`)],
    checkpoint: ({ step, path }) => [dim(`checkpoint of step ${step}: ${path}`)],
    progress: () => [],
    text: () => [],
    answering: () => [],
    sample: () => [],
    end: ({ how, reason }) => [(ENDS[how] ?? bold)(how === 'done' ? reason : `${how}: ${reason}`)]
  }
  return (event) => (show[event.kind] as (event: RunEvent) => readonly string[])(event)
}

/** What the worker's libraries print, set apart from what the run says. */
export const outputLine = (line: string): string => dim(line)

const metricList = (metrics: Metrics): string =>
  Object.entries(metrics)
    .map(([name, value]) => `${name} ${Number(value.toPrecision(4))}`)
    .join(' · ')
