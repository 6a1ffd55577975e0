/** Accuracies with their intervals: a dot, a bar, and a faint tick for every run. */
import { percent } from './format.ts'
import { colour, drawing, element, label, niceTicks, scale, tickLabels } from './svg.ts'
import type { HeadlineRow } from './summary.ts'

const WIDTH = 880
const ROW = 24
const PLOT = { left: 150, right: WIDTH - 70, top: 8 }

/** An SVG with one row per stage, grouped by taskset; `id` is unique on the page. */
export function intervalChart(id: string, rows: readonly HeadlineRow[]): string {
  const tasksets = [...new Set(rows.map((row) => row.taskset))]
  const stages = [...new Set(rows.map((row) => row.stage))]
  const most = Math.max(...rows.flatMap((row) => [row.interval.high, ...row.perRun]))
  const least = Math.min(...rows.flatMap((row) => [row.interval.low, ...row.perRun]))
  const ticks = niceTicks(least < 0.5 * most ? 0 : least, most, 8).filter((tick) => tick >= 0 && tick <= 1)
  const x = scale(ticks[0]!, ticks.at(-1)!, PLOT.left, PLOT.right)
  const body: string[] = []
  let top = PLOT.top
  for (const taskset of tasksets) {
    body.push(label(0, top + 15, taskset, { class: 'group' }))
    top += ROW
    for (const row of rows.filter((one) => one.taskset === taskset)) {
      body.push(stageRow(row, colour(stages.indexOf(row.stage)), top + ROW / 2, x))
      top += ROW
    }
    top += 6
  }
  const bottom = top - 6
  const grid = ticks.map((tick) =>
    element('line', { class: 'grid', x1: x(tick), x2: x(tick), y1: PLOT.top, y2: bottom })
  )
  const labels = tickLabels(ticks, 'share').map((text, i) =>
    label(x(ticks[i]!), bottom + 14, text, { class: 'tick', 'text-anchor': 'middle' })
  )
  const unit = label(PLOT.right + 12, bottom + 14, '% correct', { class: 'unit' })
  const description = rows
    .map(
      (row) =>
        `${row.taskset}, ${row.stage}: ${percent(row.mean)}, ${percent(row.interval.low)} to ${percent(row.interval.high)}`
    )
    .join('; ')
  return drawing(
    id,
    WIDTH,
    bottom + 20,
    'Accuracy with 95 % intervals',
    description,
    [...grid, ...labels, unit, ...body].join('')
  )
}

function stageRow(row: HeadlineRow, colour: string, y: number, x: (value: number) => number): string {
  return [
    label(PLOT.left - 12, y + 4, row.stage, { class: 'name', 'text-anchor': 'end' }),
    ...(row.runs > 1
      ? row.perRun.map((run) =>
          element('line', { class: `run ${colour}`, x1: x(run), x2: x(run), y1: y - 6, y2: y + 6 })
        )
      : []),
    element('line', { class: `interval ${colour}`, x1: x(row.interval.low), x2: x(row.interval.high), y1: y, y2: y }),
    element('circle', { class: `dot ${colour}`, cx: x(row.mean), cy: y, r: 4 }),
    label(PLOT.right + 12, y + 4, percent(row.mean), { class: 'value' })
  ].join('')
}
