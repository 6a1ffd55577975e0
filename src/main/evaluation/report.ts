/**
 * `report.md` and `report.html` of a run folder, from what the run recorded there: `recipe.yaml`, `events.jsonl`,
 * `results.json`, `run.json`. A folder whose subfolders are runs (the demo's) gets one report over all of them; its stages
 * are the subfolders' names.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { parse } from 'yaml'
import { AppError } from '../../shared/errors.ts'
import type { RunEvent } from '../../shared/event.ts'
import type { JobFunction } from '../../shared/worker-contract.ts'
import { environmentRecord } from './environment.ts'
import { fullLines } from './json-lines.ts'
import { curvesFromEvents } from './report/curves.ts'
import type { ReportData } from './report/data.ts'
import { reportHtml } from './report/html.ts'
import { reportMarkdown } from './report/markdown.ts'
import { summaryLines } from './results.ts'
import { EVENTS_FILE, originOf, RECIPE_FILE, resultsOf, writeWhole } from './run-files.ts'

/** What a folder cannot say of itself. */
export type ReportWords = Partial<Pick<ReportData, 'title' | 'notes' | 'command' | 'seeds'>>

export const runReport: JobFunction<'report'> = (_input, { runDir }) => {
  const { data, markdown, html } = writeReport(runDir)
  const lines = [...(data.results.length > 0 ? summaryLines(data) : []), `report: ${html}`, `report: ${markdown}`]
  return Promise.resolve({ lines, files: { markdown, html } })
}

/** Writes both files and says where. Throws AppError('data') when the folder holds nothing to report. */
export function writeReport(
  folder: string,
  words: ReportWords = {}
): { data: ReportData; markdown: string; html: string } {
  const data = reportData(folder, words)
  const [markdown, html] = [join(folder, 'report.md'), join(folder, 'report.html')]
  writeWhole(markdown, reportMarkdown(data))
  writeWhole(html, reportHtml(data))
  return { data, markdown, html }
}

/** Everything a report needs, read from the folder. */
export function reportData(folder: string, words: ReportWords = {}): ReportData {
  const parts = [folder, ...subfolders(folder)].flatMap((path) => partOf(path, path === folder) ?? [])
  const kept = resultsOf(folder) ?? { results: [], traces: [] }
  const curves = parts.flatMap((part) => part.curves)
  if (kept.results.length === 0 && curves.length === 0) {
    throw new AppError('data', `${folder} holds nothing to report yet`, 'Continue the run, or name another folder.')
  }
  const adapters = Object.assign({}, ...parts.map((part) => part.adapters)) as Record<string, string>
  const stages = [...new Set([...kept.results.map(({ stage }) => stage), ...curves.map(({ stage }) => stage)])]
  const tasksets = [...new Set(kept.results.map(({ taskset }) => taskset))]
  const origin = originOf(folder) ?? parts.map((part) => part.origin).find((one) => one !== null)
  const own = parts.find((part) => part.path === folder)
  return {
    title:
      tasksets.length > 0
        ? `${stages.join(' → ')} on ${tasksets.join(', ')}`
        : `${own?.kind ?? 'training'}: ${basename(folder)}`,
    notes: parts.flatMap((part) => part.notes),
    date: origin?.date ?? new Date().toISOString(),
    command: origin?.command ?? `reasonsmith ${own?.kind ?? 'demo'} ${RECIPE_FILE}`,
    stages: stages.map((name) => ({ name, ...(adapters[name] !== undefined && { adapter: adapters[name] }) })),
    ...kept,
    curves,
    settings: parts.map(({ name, yaml }) => ({ name, yaml })),
    seeds: Object.fromEntries(parts.map(({ name, seed }) => [name, seed])),
    environment: origin?.environment ?? environmentRecord(),
    ...words
  }
}

const subfolders = (folder: string): string[] =>
  readdirSync(folder, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map((entry) => join(folder, entry.name))

type Part = Pick<ReportData, 'curves'> & {
  readonly path: string
  readonly name: string
  readonly kind: string
  readonly yaml: string
  readonly seed: number
  readonly adapters: Readonly<Record<string, string>>
  readonly notes: readonly string[]
  readonly origin: ReturnType<typeof originOf>
}

type Settings = {
  readonly kind?: unknown
  readonly seed?: unknown
  readonly policies?: readonly { readonly name: string; readonly adapter?: string }[]
}

/** One run of a report; null where the folder is none. */
function partOf(path: string, whole: boolean): Part | null {
  const file = join(path, RECIPE_FILE)
  if (!existsSync(file)) return null
  const yaml = readFileSync(file, 'utf8')
  const { kind, seed, policies = [] } = (parse(yaml) ?? {}) as Settings
  const events = fullLines(join(path, EVENTS_FILE)).map(({ text, number }) => eventOf(text, path, number))
  const name = whole ? String(kind) : basename(path)
  const measured = policies.flatMap((policy) =>
    policy.adapter === undefined ? [] : [[policy.name, policy.adapter] as const]
  )
  const trained = existsSync(join(path, 'adapter.gguf')) ? [[name, join(path, 'adapter.gguf')] as const] : []
  return {
    path,
    name,
    kind: String(kind),
    yaml,
    seed: Number(seed ?? 0),
    curves: curvesFromEvents(name, events),
    adapters: Object.fromEntries([...measured, ...trained]),
    notes: whole ? notesOf(events) : notesOf(events).map((note) => `${name}: ${note}`),
    origin: originOf(path)
  }
}

function eventOf(text: string, path: string, line: number): RunEvent {
  try {
    return JSON.parse(text) as RunEvent
  } catch (cause) {
    throw new AppError('data', `${join(path, EVENTS_FILE)}, line ${line}: not JSON`, undefined, { cause })
  }
}

const SHOWN_WARNINGS = 5

/** How far the run came, how it ended, and what it warned of. */
function notesOf(events: readonly RunEvent[]): string[] {
  const steps = events.filter((event) => event.kind === 'step')
  const last = steps.at(-1)
  const end = events.findLast((event) => event.kind === 'end')
  const warnings = events.flatMap((event) => (event.kind === 'log' && event.level !== 'info' ? [event.text] : []))
  const more = warnings.length - SHOWN_WARNINGS
  return [
    ...(last ? [`${last.step} of ${last.of} steps${end ? `; ${end.how}: ${end.reason}` : '; not finished'}.`] : []),
    ...warnings.slice(0, SHOWN_WARNINGS).map((text) => `Warning: ${text}`),
    ...(more > 0 ? [`And ${more} more warnings, see ${EVENTS_FILE}.`] : [])
  ]
}
