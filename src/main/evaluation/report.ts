/**
 * `report.md` and `report.html` of a run folder, from what the run recorded there: `recipe.yaml`, `events.jsonl`,
 * `results.json`, `run.json`; or `report.json`, where a job of several runs composed its report itself.
 */
import { existsSync, readFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { parse } from 'yaml'
import { AppError } from '../../shared/errors.ts'
import type { RunEvent } from '../../shared/event.ts'
import { ADAPTER_FILE, MODEL_FILE } from '../../shared/trained-file.ts'
import type { JobFunction } from '../../shared/worker-contract.ts'
import { environmentRecord } from './environment.ts'
import { fullLines } from './json-lines.ts'
import { curvesFromEvents } from './report/curves.ts'
import type { ReportData } from './report/data.ts'
import { reportHtml } from './report/html.ts'
import { reportMarkdown } from './report/markdown.ts'
import { summaryLines } from './results.ts'
import { composedReport, EVENTS_FILE, originOf, RECIPE_FILE, resultsOf, writeWhole } from './run-files.ts'

export const runReport: JobFunction<'report'> = (_input, { runDir }) => {
  const data = existsSync(join(runDir, RECIPE_FILE)) ? reportData(runDir) : composedReport(runDir)
  if (data === null) throw new AppError('data', `${runDir} holds no run`, 'Name a recipe’s output_dir.')
  const { markdown, html } = writeReport(runDir, data)
  const lines = [...(data.results.length > 0 ? summaryLines(data) : []), `report: ${html}`, `report: ${markdown}`]
  return Promise.resolve({ lines, files: { markdown, html } })
}

/** Writes both files and says where. */
export function writeReport(folder: string, data: ReportData): { markdown: string; html: string } {
  const [markdown, html] = [join(folder, 'report.md'), join(folder, 'report.html')]
  writeWhole(markdown, reportMarkdown(data))
  writeWhole(html, reportHtml(data))
  return { markdown, html }
}

type Settings = {
  readonly kind?: unknown
  readonly seed?: unknown
  readonly policies?: readonly { readonly name: string; readonly adapter?: string; readonly base?: string }[]
}

/** Everything a report needs, read from the folder of one run. Throws AppError('data') when there is nothing to report. */
export function reportData(folder: string): ReportData {
  const yaml = readFileSync(join(folder, RECIPE_FILE), 'utf8')
  const settings = (parse(yaml) ?? {}) as Settings
  const kind = String(settings.kind)
  const events = eventsOf(join(folder, EVENTS_FILE))
  const kept = resultsOf(folder) ?? { results: [], traces: [] }
  const curves = curvesFromEvents(kind, events)
  if (kept.results.length === 0 && curves.length === 0)
    throw new AppError('data', `${folder} holds nothing to report yet`, 'Continue the run, or name another folder.')
  const tasksets = [...new Set(kept.results.map(({ taskset }) => taskset))]
  const measured = (settings.policies ?? []).map(({ name, adapter, base }) => ({
    name,
    ...(adapter !== undefined && { adapter }),
    ...(base !== undefined && { model: base })
  }))
  const [adapter, model] = [join(folder, ADAPTER_FILE), join(folder, MODEL_FILE)]
  const trained = { name: kind, ...(existsSync(adapter) && { adapter }), ...(existsSync(model) && { model }) }
  const stages = [...measured, ...(curves.length > 0 ? [trained] : [])]
  const origin = originOf(folder)
  return {
    title:
      tasksets.length > 0
        ? `${stages.map(({ name }) => name).join(' → ')} on ${tasksets.join(', ')}`
        : `${kind}: ${basename(folder)}`,
    notes: notesOf(events),
    date: origin?.date ?? new Date().toISOString(),
    command: origin?.command ?? `reasonsmith ${kind} ${RECIPE_FILE}`,
    stages,
    ...kept,
    curves,
    settings: [{ name: kind, yaml }],
    seeds: { [kind]: Number(settings.seed ?? 0) },
    environment: origin?.environment ?? environmentRecord()
  }
}

function eventsOf(path: string): RunEvent[] {
  return fullLines(path).map(({ text, number }) => {
    try {
      return JSON.parse(text) as RunEvent
    } catch (cause) {
      throw new AppError('data', `${path}, line ${number}: not JSON`, undefined, { cause })
    }
  })
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
