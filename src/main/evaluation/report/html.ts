/**
 * `report.html`: one file that needs nothing else: no scripts, nothing from outside, every text escaped. Each chart has its
 * numbers in a table beside it.
 */
import { chartsOf, seriesName } from './curves.ts'
import type { Chart } from './curves.ts'
import type { ReportData, TraceComparison } from './data.ts'
import { escape, moment, number, percent, quantity } from './format.ts'
import { intervalChart } from './interval-chart.ts'
import { lineChart, span } from './line-chart.ts'
import { STYLE } from './style.ts'
import { summarise } from './summary.ts'
import type { Summary } from './summary.ts'
import { colour } from './svg.ts'
import { answerColumns, EXPLANATIONS, headlineColumns, testColumns } from './tables.ts'
import type { Column } from './tables.ts'

/** The whole page. Throws RangeError where results of one taskset cannot be paired. */
export function reportHtml(data: ReportData): string {
  const summary = summarise(data)
  const body = [headline(data, summary), tests(summary), curves(data), traces(data), settings(data), origin(data)].join(
    '\n'
  )
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escape(data.title)}</title>
<style>${STYLE}</style>
</head>
<body>
${body}
</body>
</html>
`
}

/** A table whose first column groups rows: a repeated group is written once. */
function table<Row>(columns: readonly Column<Row>[], rows: readonly Row[], caption: string): string {
  const cls = (column: Column<Row>): string => (column.numeric ? ' class="n"' : '')
  const unit = (column: Column<Row>): string =>
    column.unit ? `<span class="unit-note">${escape(column.unit)}</span>` : ''
  const head = columns
    .map((column) => `<th scope="col"${cls(column)}>${escape(column.title)}${unit(column)}</th>`)
    .join('')
  const body = rows.map((row, i) => {
    const cells = columns.map((column) => column.cell(row))
    const again = i > 0 && columns[0]!.cell(rows[i - 1]!) === cells[0]
    const written = cells.map((cell, c) =>
      c === 0 ? `<th scope="row">${again ? '' : escape(cell)}</th>` : `<td${cls(columns[c]!)}>${escape(cell)}</td>`
    )
    return `<tr${again || i === 0 ? '' : ' class="first"'}>${written.join('')}</tr>`
  })
  return `<div class="scroll" tabindex="0"><table class="wide"><caption>${escape(caption)}</caption><thead><tr>${head}</tr></thead><tbody>${body.join('\n')}</tbody></table></div>`
}

function headline(data: ReportData, summary: Summary): string {
  const findings = summary.tests.map(
    ({ taskset, words, yes }) => `<li class="${yes ? 'yes' : 'no'}">${escape(taskset)}: ${escape(words)}</li>`
  )
  return `<header><h1>${escape(data.title)}</h1>
<p class="soft">${escape(moment(data.date))} · ${escape(data.stages.map((stage) => stage.name).join(' → '))}</p>
${(data.notes ?? []).map((note) => `<p>${escape(note)}</p>`).join('\n')}
${findings.length > 0 ? `<ul class="findings">${findings.join('\n')}</ul>` : ''}</header>
${accuracy(summary)}`
}

/** Left out for a run that measured nothing. */
function accuracy(summary: Summary): string {
  if (summary.headline.length === 0) return ''
  return `<section><h2>Accuracy</h2>
<figure class="full">${intervalChart('accuracy', summary.headline)}</figure>
${table(headlineColumns(summary.headline), summary.headline, EXPLANATIONS.headline)}
<h3>Several tries, and lengths by verdict</h3>
${table(answerColumns(summary.headline), summary.headline, EXPLANATIONS.answers)}</section>`
}

function tests(summary: Summary): string {
  if (summary.tests.length === 0) return ''
  return `<section><h2>Are the stages different?</h2>
${table(testColumns, summary.tests, EXPLANATIONS.tests)}</section>`
}

function curves(data: ReportData): string {
  const drawn = data.stages.map((stage, s) => {
    const charts = chartsOf(data.curves.filter((curve) => curve.stage === stage.name))
    if (charts.length === 0) return ''
    return `<h3>${escape(stage.name)}</h3><div class="charts">${charts.map((chart, c) => chartFigure(`chart-${s}-${c}`, chart)).join('\n')}</div>`
  })
  return drawn.some((part) => part !== '') ? `<section><h2>Training</h2>${drawn.join('\n')}</section>` : ''
}

function chartFigure(id: string, chart: Chart): string {
  const only = chart.series.length === 1
  const legend = chart.series.map((curve, i) => {
    const swatch = `<span class="swatch ${colour(i + 1)}"></span>`
    return `<span>${only ? '' : `${swatch}${escape(seriesName(curve))} `}${escape(span(curve, chart.unit))}</span>`
  })
  return `<figure><figcaption><b>${escape(chart.title)}</b><br><span class="legend">${legend.join(' ')}</span></figcaption>
${lineChart(id, chart)}
<details><summary>Numbers</summary><div class="scroll" tabindex="0">${numbers(chart)}</div></details></figure>`
}

function numbers(chart: Chart): string {
  const steps = [...new Set(chart.series.flatMap((curve) => curve.points.map(([step]) => step)))].sort((a, b) => a - b)
  const values = chart.series.map((curve) => new Map(curve.points))
  const unit = chart.unit && chart.unit !== 'share' ? `, ${chart.unit}` : ''
  const head = chart.series.map((curve) => `<th scope="col" class="n">${escape(seriesName(curve) + unit)}</th>`)
  const rows = steps.map((step) => {
    const cells = values
      .map((series) => series.get(step))
      .map((value) => (value === undefined ? '' : chart.unit === 'share' ? percent(value) : number(value)))
    return `<tr><th scope="row" class="n">${step}</th>${cells.map((cell) => `<td class="n">${escape(cell)}</td>`).join('')}</tr>`
  })
  return `<table><thead><tr><th scope="col" class="n">step</th>${head.join('')}</tr></thead><tbody>${rows.join('\n')}</tbody></table>`
}

function traces(data: ReportData): string {
  if (data.traces.length === 0) return ''
  return `<section><h2>The same task, stage by stage</h2>${data.traces.map(comparison).join('\n')}</section>`
}

function comparison(trace: TraceComparison): string {
  const columns = trace.stages.map((one) => {
    const kind = /^(correct|wrong|unreadable)/.exec(one.verdict)?.[0] ?? ''
    const cut = one.stop === 'length' ? ', cut off' : ''
    const parted = one.thinking !== null || one.answer !== null
    return `<div><h4>${escape(one.stage)}</h4>
<p class="about"><span class="${kind}">${escape(one.verdict)}</span> · ${escape(quantity(one.length, 'tokens'))}${cut}</p>
${parted ? `<div class="thinking" tabindex="0">${escape(one.thinking ?? '(no thought)')}</div>` : ''}
<div class="answer">${escape((parted ? one.answer : one.text) ?? '(no answer)')}</div></div>`
  })
  return `<article><h3>${escape([trace.taskset, trace.taskId].filter(Boolean).join(' · '))}</h3>
<p class="task">${escape(trace.prompt)}

<span class="soft">Reference answer: ${escape(trace.solution)}</span></p>
<div class="side">${columns.join('\n')}</div></article>`
}

function settings(data: ReportData): string {
  const parts = data.settings.map(
    ({ name, yaml }) => `<details><summary>${escape(name)}</summary><pre>${escape(yaml)}</pre></details>`
  )
  return parts.length > 0 ? `<section><h2>Settings</h2>${parts.join('\n')}</section>` : ''
}

function origin(data: ReportData): string {
  const list = (entries: readonly (readonly [string, string])[]): string =>
    `<dl>${entries.map(([name, value]) => `<dt>${escape(name)}</dt><dd>${escape(value)}</dd>`).join('')}</dl>`
  const seeds = Object.entries(data.seeds).map(([name, seed]) => [name, String(seed)] as const)
  const adapters = data.stages.flatMap((stage) => (stage.adapter ? [[stage.name, stage.adapter] as const] : []))
  const models = data.stages.flatMap((stage) => (stage.model ? [[stage.name, stage.model] as const] : []))
  return `<section><h2>Where the numbers come from</h2>
<pre>${escape(data.command)}</pre>
${seeds.length > 0 ? `<h3>Seeds</h3>${list(seeds)}` : ''}
${adapters.length > 0 ? `<h3>Adapters</h3>${list(adapters)}` : ''}
${models.length > 0 ? `<h3>Models</h3>${list(models)}` : ''}
<h3>Machine and libraries</h3>${list(Object.entries(data.environment))}</section>`
}
