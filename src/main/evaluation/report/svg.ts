/** The few pieces that charts are made of. Colours are classes (`s0`…`s5`) that the page's style gives values, light and dark. */
import { escape, fixed } from './format.ts'

const SERIES_COLOURS = 6

/** Class of a series' colour. */
export const colour = (series: number): string => `s${series % SERIES_COLOURS}`

type Attributes = Readonly<Record<string, string | number>>

/** One element; numbers to a tenth of a pixel. `children` is markup, already escaped. */
export function element(name: string, attributes: Attributes, children = ''): string {
  const written = Object.entries(attributes)
    .map(([key, value]) => ` ${key}="${typeof value === 'number' ? Number(value.toFixed(1)) : escape(value)}"`)
    .join('')
  return children === '' ? `<${name}${written}/>` : `<${name}${written}>${children}</${name}>`
}

export const label = (x: number, y: number, text: string, attributes: Attributes = {}): string =>
  element('text', { x, y, ...attributes }, escape(text))

/** A drawing with a title and a description for those who do not see it. `id` is unique on the page. */
export function drawing(
  id: string,
  width: number,
  height: number,
  title: string,
  description: string,
  body: string
): string {
  const named =
    element('title', { id: `${id}-title` }, escape(title)) + element('desc', { id: `${id}-desc` }, escape(description))
  return element(
    'svg',
    { viewBox: `0 0 ${width} ${height}`, role: 'img', 'aria-labelledby': `${id}-title ${id}-desc` },
    named + body
  )
}

/** Round numbers (1, 2, 5 times a power of ten) covering low…high with about `count` steps. */
export function niceTicks(low: number, high: number, count = 5): number[] {
  if (!(high > low)) return niceTicks(low - (Math.abs(low) || 1) / 2, low + (Math.abs(low) || 1) / 2, count)
  const rough = (high - low) / count
  const power = 10 ** Math.floor(Math.log10(rough))
  const step = power * [1, 2, 5, 10].find((factor) => factor * power >= rough * 0.999)!
  const first = Math.floor(low / step + 1e-9)
  const last = Math.ceil(high / step - 1e-9)
  return Array.from({ length: last - first + 1 }, (_, i) => Number(((first + i) * step).toPrecision(12)))
}

/** All ticks of an axis with the same number of decimals; very small ones in powers of ten. */
export function tickLabels(ticks: readonly number[], unit: string | undefined): string[] {
  const scale = unit === 'share' ? 100 : 1
  const step = Math.abs((ticks[1] ?? 1) - (ticks[0] ?? 0)) * scale
  if (step < 1e-4)
    return ticks.map((tick) => (tick === 0 ? '0' : Number(tick.toPrecision(3)).toExponential().replaceAll('-', '−')))
  const digits = Math.max(0, -Math.floor(Math.log10(step) + 1e-9))
  return ticks.map((tick) => {
    const text = tick === 0 ? '0' : fixed(tick * scale, digits)
    return step >= 1000 ? text.replace(/\B(?=(\d{3})+$)/g, ',') : text
  })
}

/** Where a value stands on an axis from `from` to `to` pixels. */
export const scale =
  (low: number, high: number, from: number, to: number) =>
  (value: number): number =>
    from + ((value - low) / (high - low || 1)) * (to - from)
