/** Files of one JSON value a line, written by appending: a last line that a crash cut off does not count. */
import { existsSync, readFileSync } from 'node:fs'

/** Line numbers count from 1; `end` is the byte after the line's newline. */
export type Line = { readonly text: string; readonly number: number; readonly end: number }

/** The lines that end in a newline; none where there is no file. */
export function fullLines(path: string): Line[] {
  const whole = existsSync(path) ? readFileSync(path) : Buffer.alloc(0)
  const lines: Line[] = []
  for (let start = 0, end = whole.indexOf(10); end >= 0; start = end + 1, end = whole.indexOf(10, start)) {
    lines.push({ text: whole.toString('utf8', start, end), number: lines.length + 1, end: end + 1 })
  }
  return lines
}
