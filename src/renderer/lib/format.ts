/** Numbers, durations, sizes and dates as a person reads them. One place, so that they look alike everywhere. */

const THOUSANDS = new Intl.NumberFormat('en', { maximumFractionDigits: 0 })
/** A thin space keeps a number and its unit together without gluing them. */
const THIN = '\u202f'

/** Whole things: 12,480. */
export const count = (n: number): string => THOUSANDS.format(n)

/** `1 run`, `3 runs`. */
export const plural = (n: number, one: string, many = `${one}s`): string => `${count(n)} ${n === 1 ? one : many}`

/** A measured number with `digits` significant digits; very small and very large ones in powers of ten. */
export function number(x: number, digits = 4): string {
  if (!Number.isFinite(x)) return '–'
  if (x === 0) return '0'
  const size = Math.abs(x)
  if (size >= 1e7 || size < 1e-4) {
    const [mantissa, power] = x.toExponential(Math.min(digits, 3) - 1).split('e')
    return `${mantissa!.replace('-', '−')}e${power!.replace('+', '').replace('-', '−')}`
  }
  if (size >= 10 ** digits) return count(Math.round(x)).replace('-', '−')
  const decimals = Math.max(0, digits - 1 - Math.floor(Math.log10(size)))
  return String(Number(x.toFixed(Math.min(decimals, 6)))).replace('-', '−')
}

/** With a fixed number of decimals, for numbers that stand under each other; `plus` also writes the sign of positive ones. */
export function fixed(x: number, decimals: number, plus = false): string {
  if (!Number.isFinite(x)) return '–'
  const text = Math.abs(x).toFixed(decimals)
  const sign = Number(text) === 0 ? '' : x < 0 ? '−' : plus ? '+' : ''
  return sign + text
}

/** A difference, always with its sign. */
export const signed = (x: number, digits = 3): string => (x > 0 ? `+${number(x, digits)}` : number(x, digits))

/** A share of one: 12.5 %. */
export const percent = (share: number, decimals = 1): string =>
  Number.isFinite(share) ? `${(share * 100).toFixed(decimals).replace('-', '−')}${THIN}%` : '–'

const SIZES = ['B', 'KiB', 'MiB', 'GiB', 'TiB'] as const
export function bytes(n: number): string {
  const power = n < 1 ? 0 : Math.min(SIZES.length - 1, Math.floor(Math.log2(n) / 10))
  const value = n / 1024 ** power
  return `${power === 0 ? count(value) : value.toFixed(value < 10 ? 2 : value < 100 ? 1 : 0)}${THIN}${SIZES[power]}`
}

/** How long, in its two largest units: `850 ms`, `12.4 s`, `3 min 20 s`, `2 h 05 min`, `3 d 4 h`. */
export function duration(ms: number): string {
  if (!Number.isFinite(ms)) return '–'
  if (ms < 1000) return `${Math.round(ms)}${THIN}ms`
  const s = ms / 1000
  if (s < 60) return `${s < 10 ? s.toFixed(1) : Math.round(s)}${THIN}s`
  const minutes = Math.floor(s / 60)
  if (minutes < 60) return two(minutes, 'min', Math.floor(s % 60), 's')
  const hours = Math.floor(minutes / 60)
  return hours < 48 ? two(hours, 'h', minutes % 60, 'min') : two(Math.floor(hours / 24), 'd', hours % 24, 'h')
}

const two = (a: number, unit: string, b: number, smaller: string): string =>
  b === 0 ? `${a}${THIN}${unit}` : `${a}${THIN}${unit} ${b}${THIN}${smaller}`

/** `up to 0.5`, `from 0.05 up to 0.5`. */
export const rangeWords = (
  { low, high }: { readonly low?: number | undefined; readonly high?: number | undefined },
  format: (value: number) => string
): string =>
  [low === undefined ? '' : `from ${format(low)}`, high === undefined ? '' : `up to ${format(high)}`]
    .filter((part) => part !== '')
    .join(' ')

/** Parameters of a model: 1.4 M, 7.6 B. */
export function parameters(n: number): string {
  const [size, unit] = n >= 1e9 ? [n / 1e9, 'B'] : n >= 1e6 ? [n / 1e6, 'M'] : [n / 1e3, 'k']
  return `${size < 10 ? size.toFixed(1) : Math.round(size)}${THIN}${unit}`
}

export const perSecond = (x: number, unit: string): string => `${number(x, 3)}${THIN}${unit}/s`
export const tokens = (n: number): string => plural(Math.round(n), 'token')
/** A number and its unit. */
export const withUnit = (text: string, unit: string): string => (unit === '' ? text : `${text}${THIN}${unit}`)

const CLOCK = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit', hourCycle: 'h23' })
const DAY = new Intl.DateTimeFormat('en', { day: 'numeric', month: 'short' })
const FULL = new Intl.DateTimeFormat('en', { dateStyle: 'medium', timeStyle: 'medium', hourCycle: 'h23' })

/** The exact moment, for tooltips. */
export const exactTime = (at: number): string => FULL.format(at)

/** `14:05` today, `12 Mar, 14:05` this year, `12 Mar 2025` before. */
export function time(at: number, now = Date.now()): string {
  const [then, today] = [new Date(at), new Date(now)]
  if (then.toDateString() === today.toDateString()) return CLOCK.format(at)
  if (then.getFullYear() === today.getFullYear()) return `${DAY.format(at)}, ${CLOCK.format(at)}`
  return `${DAY.format(at)} ${then.getFullYear()}`
}

/** `just now`, `5 min ago`, `3 h ago`, then a date. */
export function ago(at: number, now = Date.now()): string {
  const s = (now - at) / 1000
  if (s < 45) return 'just now'
  if (s < 3600) return `${Math.max(1, Math.round(s / 60))}${THIN}min ago`
  if (s < 86_400) return `${Math.round(s / 3600)}${THIN}h ago`
  return time(at, now)
}
