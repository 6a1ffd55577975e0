/** Several curves over steps in one drawing. Pure: data in, markup out. */
import type { Curve } from './data.ts'
import { quantity } from './format.ts'
import { seriesName } from './curves.ts'
import type { Chart } from './curves.ts'
import { colour, drawing, element, label, niceTicks, scale, tickLabels } from './svg.ts'

const WIDTH = 420
const HEIGHT = 190
const PLOT = { left: 46, right: WIDTH - 10, top: 20, bottom: HEIGHT - 24 }
/** Up to this many points each is marked. */
const MARKED_POINTS = 24

/** An SVG of `chart`; `id` is unique on the page. Values that are not finite break the line. */
export function lineChart(id: string, chart: Chart): string {
  const steps = chart.series.flatMap((curve) => curve.points.map(([step]) => step))
  const values = chart.series.flatMap((curve) => [
    ...curve.points.map(([, value]) => value),
    ...(curve.band ?? []).flatMap(([, low, high]) => [low, high])
  ])
  const finite = values.filter(Number.isFinite)
  const [low, high] = [Math.min(...finite), Math.max(...finite)]
  const yTicks = finite.length > 0 ? niceTicks(low >= 0 && low < high / 2 ? 0 : low, high, 4) : [0, 1]
  const [first, last] = [Math.min(...steps), Math.max(...steps)]
  const xTicks = niceTicks(first, last, 6).filter((tick) => tick >= first && tick <= last && Number.isInteger(tick))
  const x = scale(first, last, first === last ? (PLOT.left + PLOT.right) / 2 : PLOT.left + 4, PLOT.right - 4)
  const y = scale(yTicks[0]!, yTicks.at(-1)!, PLOT.bottom, PLOT.top)
  const body = [
    ...yTicks.map((tick) =>
      element('line', { class: 'grid', x1: PLOT.left, x2: PLOT.right, y1: y(tick), y2: y(tick) })
    ),
    ...tickLabels(yTicks, chart.unit).map((text, i) =>
      label(PLOT.left - 6, y(yTicks[i]!) + 3.5, text, { class: 'tick', 'text-anchor': 'end' })
    ),
    ...tickLabels(xTicks, undefined).map((text, i) =>
      label(x(xTicks[i]!), PLOT.bottom + 15, text, { class: 'tick', 'text-anchor': 'middle' })
    ),
    label(PLOT.left - 6, PLOT.top - 9, chart.unit === 'share' ? '%' : (chart.unit ?? ''), {
      class: 'unit',
      'text-anchor': 'end'
    }),
    label(PLOT.left - 6, PLOT.bottom + 15, 'step', { class: 'unit', 'text-anchor': 'end' }),
    element('line', { class: 'axis', x1: PLOT.left, x2: PLOT.right, y1: PLOT.bottom, y2: PLOT.bottom }),
    ...chart.series.map((curve, i) => band(curve, colour(i + 1), x, y)),
    ...chart.series.map((curve, i) => line(curve, colour(i + 1), x, y))
  ]
  const description = chart.series.map((curve) => `${seriesName(curve)}: ${span(curve, chart.unit)}`).join('; ')
  return drawing(id, WIDTH, HEIGHT, `${chart.title} over steps`, description, body.join(''))
}

/** From the first value to the last: `212 → 187 tokens`. */
export function span(curve: Curve, unit: string | undefined): string {
  const [first, last] = [curve.points[0]?.[1], curve.points.at(-1)?.[1]]
  if (first === undefined || last === undefined) return 'no values'
  return curve.points.length === 1
    ? quantity(last, unit)
    : `${quantity(first, unit === 'share' ? unit : undefined)} → ${quantity(last, unit)}`
}

type Axis = (value: number) => number

function band(curve: Curve, colour: string, x: Axis, y: Axis): string {
  if (!curve.band || curve.band.length < 2) return ''
  const upper = curve.band.map(([step, , high]) => `${x(step).toFixed(1)},${y(high).toFixed(1)}`)
  const lower = curve.band.map(([step, low]) => `${x(step).toFixed(1)},${y(low).toFixed(1)}`).reverse()
  return element('polygon', { class: `band ${colour}`, points: [...upper, ...lower].join(' ') })
}

function line(curve: Curve, colour: string, x: Axis, y: Axis): string {
  let path = ''
  let pen = 'M'
  for (const [step, value] of curve.points) {
    if (Number.isFinite(value)) path += `${pen}${x(step).toFixed(1)} ${y(value).toFixed(1)}`
    pen = Number.isFinite(value) ? 'L' : 'M'
  }
  const marked = curve.points.length <= MARKED_POINTS ? curve.points.filter(([, value]) => Number.isFinite(value)) : []
  const marks = marked.map(([step, value]) =>
    element('circle', { class: `mark ${colour}`, cx: x(step), cy: y(value), r: 2 })
  )
  return element('path', { class: `line ${colour}`, d: path }) + marks.join('')
}
