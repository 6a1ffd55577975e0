/** `report.md`: the same sections as the page, for a terminal, a repository or a pull request. Curves become a table of landmarks. */
import { chartsOf, seriesName } from './curves.ts'
import type { Curve, ReportData, TraceComparison } from './data.ts'
import { moment, quantity } from './format.ts'
import { summarise } from './summary.ts'
import type { Summary } from './summary.ts'
import { answerColumns, EXPLANATIONS, headlineColumns, testColumns } from './tables.ts'
import type { Column } from './tables.ts'

/** GitHub-flavoured Markdown. Throws RangeError where results of one taskset cannot be paired. */
export function reportMarkdown(data: ReportData): string {
  const summary = summarise(data)
  const sections = [
    `# ${inline(data.title)}`,
    `${moment(data.date)} · ${data.stages.map((stage) => inline(stage.name)).join(' → ')}`,
    ...(data.notes ?? []),
    summary.tests.map(({ taskset, words }) => `- ${inline(`${taskset}: ${words}`)}`).join('\n'),
    ...(summary.headline.length > 0 ? accuracy(summary) : []),
    ...(summary.tests.length > 0
      ? ['## Are the stages different?', table(testColumns, summary.tests), EXPLANATIONS.tests]
      : []),
    ...curves(data),
    ...(data.traces.length > 0 ? ['## The same task, stage by stage', ...data.traces.map(comparison)] : []),
    ...(data.settings.length > 0
      ? ['## Settings', ...data.settings.map(({ name, yaml }) => `### ${inline(name)}\n\n${fenced(yaml, 'yaml')}`)]
      : []),
    '## Where the numbers come from',
    fenced(data.command, 'sh'),
    list(data.seeds, 'seed '),
    list(
      Object.fromEntries(data.stages.flatMap((stage) => (stage.adapter ? [[stage.name, stage.adapter]] : []))),
      'adapter of '
    ),
    list(
      Object.fromEntries(data.stages.flatMap((stage) => (stage.model ? [[stage.name, stage.model]] : []))),
      'model of '
    ),
    list(data.environment, '')
  ]
  return sections.filter((section) => section !== '').join('\n\n') + '\n'
}

function accuracy({ headline }: Summary): string[] {
  return [
    '## Accuracy',
    table(headlineColumns(headline), headline),
    EXPLANATIONS.headline,
    '### Several tries, and lengths by verdict',
    table(answerColumns(headline), headline),
    EXPLANATIONS.answers
  ]
}

/** Text that must not become markup or break a table. */
export const inline = (text: string): string => text.replace(/[\\`*_[\]<|#]/g, '\\$&').replace(/\s+/g, ' ')

/** A fence longer than any inside. */
function fenced(text: string, language = ''): string {
  const longest = Math.max(2, ...[...text.matchAll(/`+/g)].map(([ticks]) => ticks.length))
  const fence = '`'.repeat(longest + 1)
  return `${fence}${language}\n${text.trimEnd()}\n${fence}`
}

/** A GitHub-flavoured table. */
export function table<Row>(columns: readonly Column<Row>[], rows: readonly Row[]): string {
  const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`
  const titles = columns.map(({ title, unit }) => inline(unit ? `${title} (${unit})` : title))
  const rules = columns.map(({ numeric }) => (numeric ? '---:' : '---'))
  return [
    line(titles),
    line(rules),
    ...rows.map((row) => line(columns.map((column) => inline(column.cell(row)))))
  ].join('\n')
}

const list = (entries: Readonly<Record<string, string | number>>, prefix: string): string =>
  Object.entries(entries)
    .map(([name, value]) => `- ${prefix}${inline(name)}: ${inline(String(value))}`)
    .join('\n')

type CurveRow = { readonly chart: string; readonly unit: string | undefined; readonly curve: Curve }

const valueAt = (pick: (curve: Curve) => number | undefined) => (row: CurveRow) => {
  const value = pick(row.curve)
  return value === undefined ? '–' : quantity(value, row.unit)
}

const CURVE_COLUMNS: readonly Column<CurveRow>[] = [
  { title: 'Curve', numeric: false, cell: (row) => row.chart },
  { title: 'Shape', numeric: false, cell: (row) => sparkline(row.curve) },
  { title: 'First', numeric: true, cell: valueAt((curve) => curve.points[0]?.[1]) },
  { title: 'Lowest', numeric: true, cell: valueAt((curve) => Math.min(...finite(curve))) },
  { title: 'Highest', numeric: true, cell: valueAt((curve) => Math.max(...finite(curve))) },
  { title: 'Last', numeric: true, cell: valueAt((curve) => curve.points.at(-1)?.[1]) },
  { title: 'Steps', numeric: true, cell: ({ curve }) => `${curve.points[0]?.[0]}–${curve.points.at(-1)?.[0]}` }
]

function curves(data: ReportData): string[] {
  const parts = data.stages.flatMap((stage) => {
    const charts = chartsOf(data.curves.filter((curve) => curve.stage === stage.name))
    const rows = charts.flatMap(({ title, unit, series }) =>
      series.map((curve): CurveRow => ({
        chart: series.length > 1 ? `${title}: ${seriesName(curve)}` : title,
        unit,
        curve
      }))
    )
    return rows.length > 0 ? [`### ${inline(stage.name)}`, table(CURVE_COLUMNS, rows)] : []
  })
  return parts.length > 0 ? ['## Training', ...parts, 'Charts and every number: `report.html` beside this file.'] : []
}

const finite = (curve: Curve): number[] => curve.points.map(([, value]) => value).filter(Number.isFinite)

const BARS = '▁▂▃▄▅▆▇█'
const SPARK_WIDTH = 16

/** The curve in at most 16 characters, each the mean of its share of the points. */
function sparkline(curve: Curve): string {
  const values = finite(curve)
  const [low, high] = [Math.min(...values), Math.max(...values)]
  const width = Math.min(SPARK_WIDTH, values.length)
  return Array.from({ length: width }, (_, i) => {
    const part = values.slice(Math.floor((i * values.length) / width), Math.floor(((i + 1) * values.length) / width))
    const mean = part.reduce((sum, value) => sum + value, 0) / part.length
    return BARS[high > low ? Math.round(((mean - low) / (high - low)) * (BARS.length - 1)) : 0]
  }).join('')
}

function comparison(trace: TraceComparison): string {
  const parts = trace.stages.map((one) => {
    const about = `**${inline(one.stage)}**: ${inline(one.verdict)}, ${quantity(one.length, 'tokens')}${one.stop === 'length' ? ', cut off' : ''}`
    const parted = one.thinking !== null || one.answer !== null
    const text = parted
      ? `${one.thinking ?? '(no thought)'}\n\n→ ${one.answer ?? '(no answer)'}`
      : (one.text ?? '(no text)')
    return `${about}\n\n${fenced(text)}`
  })
  const title = [trace.taskset, trace.taskId]
    .filter((part) => part !== undefined)
    .map(inline)
    .join(' · ')
  return [`### ${title}`, fenced(trace.prompt), `Reference answer: ${inline(trace.solution)}`, ...parts].join('\n\n')
}
