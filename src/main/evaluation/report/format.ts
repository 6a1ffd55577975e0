/** Numbers and text as a report prints them. */

const MINUS = '−'
const NO_BREAK = '\u00a0'

export const fixed = (value: number, digits: number): string => value.toFixed(digits).replace('-', MINUS)

/** 0.125 → `12.5 %`. */
export const percent = (share: number, digits = 1): string => `${fixed(100 * share, digits)}${NO_BREAK}%`

/** 0.125 → `+12.5`: a difference in points. */
export const points = (share: number): string => `${share > 0 ? '+' : ''}${fixed(100 * share, 1)}`

/** About three digits, whatever the size: `18,234`, `212`, `0.432`, `3.2e−5`; counts as they are. */
export function number(value: number): string {
  const size = Math.abs(value)
  if (size >= 1000) return fixed(value, 0).replace(/\B(?=(\d{3})+$)/g, ',')
  if (size >= 100 || Number.isInteger(value)) return fixed(value, 0)
  if (size >= 10) return fixed(value, 1)
  if (size >= 0.001) return fixed(value, size >= 1 ? 2 : size >= 0.1 ? 3 : 4)
  return value.toExponential(1).replaceAll('-', MINUS)
}

/** A value with its unit; `share` in percent. */
export const quantity = (value: number, unit: string | undefined): string =>
  unit === 'share' ? percent(value) : number(value) + (unit ? `${NO_BREAK}${unit}` : '')

/** An ISO time to the minute: `2026-03-14 09:26 UTC`. */
export const moment = (iso: string): string => iso.replace(/^(\d{4}-\d\d-\d\d)T(\d\d:\d\d)(?::[\d.]+)?Z$/, '$1 $2 UTC')

const ENTITIES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;'
}

/** Text for HTML and SVG, in elements and in quoted attributes. Characters that XML forbids are shown as U+FFFD. */
export const escape = (text: string): string =>
  // eslint-disable-next-line no-control-regex
  text.replace(/[\u0000-\u0008\u000b\u000c\u000e-\u001f]/g, '\ufffd').replace(/[&<>"']/g, (char) => ENTITIES[char]!)
