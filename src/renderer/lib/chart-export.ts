/** A chart as a file: CSV of its points, SVG drawn from them. Pure text; `download` in `save-file.ts` hands it over. */
import { joined, stretches } from './series.ts'
import type { Points } from './series.ts'

export type Curve = Points & {
  readonly label: string
  readonly colour: string
  /** Steps after which the line starts anew. */
  readonly breaks?: readonly number[] | undefined
}

const quoted = (text: string): string => (/[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text)

/** One row per step, one column per curve, an empty cell where a curve has no point. */
export function curvesCsv(curves: readonly Curve[], x = 'step'): string {
  const [steps, ...columns] = joined(curves)
  const head = [x, ...curves.map(({ label }) => quoted(label))].join(',')
  return (
    [head, ...steps.map((step, i) => [step, ...columns.map((column) => column[i] ?? '')].join(','))].join('\n') + '\n'
  )
}

const escaped = (text: string): string =>
  text.replace(/[<>&"]/g, (c) => ({ '<': '&lt;', '>': '&gt;', '&': '&amp;', '"': '&quot;' })[c]!)

/** Round numbers that cover a range, about `n` of them. */
export function ticks(low: number, high: number, n = 5): number[] {
  if (!(high > low)) return [low]
  const rough = (high - low) / n
  const power = 10 ** Math.floor(Math.log10(rough))
  const step = [1, 2, 5, 10].map((m) => m * power).find((s) => s >= rough)!
  const first = Math.ceil(low / step - 1e-9)
  const last = Math.floor(high / step + 1e-9)
  return Array.from({ length: last - first + 1 }, (_, i) => Number(((first + i) * step).toPrecision(12)))
}

/** A self-contained picture for a paper: white ground, axes, a legend. */
export function curvesSvg(
  title: string,
  unit: string,
  curves: readonly Curve[],
  size = { width: 720, height: 400 }
): string {
  const { width, height } = size
  const box = { left: 64, right: 16, top: 40, bottom: 64 + 16 * Math.ceil(curves.length / 4) }
  const steps = curves.flatMap(({ step }) => step)
  const values = curves.flatMap(({ value }) => value)
  const bounds = (list: readonly number[]): [number, number] => {
    const [low, high] = list.reduce(([a, b], v) => [Math.min(a, v), Math.max(b, v)], [Infinity, -Infinity])
    return low === high ? [low - 0.5, high + 0.5] : [low, high]
  }
  const [x0, x1] = bounds(steps)
  const [y0, y1] = bounds(values)
  const px = (x: number): number => box.left + ((x - x0) / (x1 - x0)) * (width - box.left - box.right)
  const py = (y: number): number => height - box.bottom - ((y - y0) / (y1 - y0)) * (height - box.top - box.bottom)
  const line = (xa: number, ya: number, xb: number, yb: number): string =>
    `<line x1="${xa.toFixed(1)}" y1="${ya.toFixed(1)}" x2="${xb.toFixed(1)}" y2="${yb.toFixed(1)}" stroke="#ddd"/>`
  const label = (x: number, y: number, text: string, anchor: string, extra = ''): string =>
    `<text x="${x.toFixed(1)}" y="${y.toFixed(1)}" text-anchor="${anchor}"${extra}>${escaped(text)}</text>`
  const rows = ticks(y0, y1).map(
    (y) => line(box.left, py(y), width - box.right, py(y)) + label(box.left - 6, py(y) + 4, String(y), 'end')
  )
  const bottom = height - box.bottom
  const columns = ticks(x0, x1, 8).map((x) => label(px(x), bottom + 16, String(x), 'middle'))
  const paths = curves.flatMap((curve) =>
    stretches(curve, curve.breaks).map(({ step, value }) => {
      const points = step.map((s, i) => `${px(s).toFixed(1)},${py(value[i]!).toFixed(1)}`).join(' ')
      return `<polyline points="${points}" fill="none" stroke="${curve.colour}" stroke-width="1.6"/>`
    })
  )
  const column = (width - box.left - box.right) / Math.min(4, Math.max(1, curves.length))
  const legend = curves.map(({ label: name, colour }, i) => {
    const x = box.left + (i % 4) * column
    const y = bottom + 48 + 16 * Math.floor(i / 4)
    return `<rect x="${x}" y="${y - 9}" width="12" height="3" fill="${colour}"/>` + label(x + 18, y - 4, name, 'start')
  })
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" font-family="Inter, Helvetica, sans-serif" font-size="11" fill="#333">`,
    `<rect width="${width}" height="${height}" fill="#fff"/>`,
    label(box.left, 22, unit === '' ? title : `${title} (${unit})`, 'start', ' font-size="14" font-weight="600"'),
    ...rows,
    ...columns,
    label((box.left + width - box.right) / 2, bottom + 32, 'step', 'middle'),
    ...paths,
    ...legend,
    '</svg>'
  ].join('\n')
}
