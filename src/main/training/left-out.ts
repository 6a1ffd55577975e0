/** Samples that are not learned from: a sentence for the terminal, the whole list for a file. */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { writeWholeFile } from '../files/whole-file.ts'

/** One sample that was left out; `tokens` where it was counted, which is where it is too long. */
export type LeftOut = {
  readonly file: string
  readonly line: number
  readonly tokens?: number
  readonly reason: string
}

export const LEFT_OUT_FILE = 'left-out.jsonl'
/** Places that a sentence names. */
const SHOWN = 3

/** Writes one line for each into the run's folder; where there are none, no file. Throws AppError('disk'). */
export function keepLeftOut(folder: string, leftOut: readonly LeftOut[]): void {
  if (leftOut.length === 0) return
  const text = leftOut.map((one) => JSON.stringify(one) + '\n').join('')
  writeWholeFile(join(folder, LEFT_OUT_FILE), (path) => writeFileSync(path, text))
}

/** What a person reads of a file's samples: how many are too long, how many malformed, the first places of each. */
export function leftOutWords(file: string, leftOut: readonly LeftOut[], of: number, maxLength: number): string[] {
  const long = leftOut.filter(({ tokens }) => tokens !== undefined)
  const malformed = leftOut.filter(({ tokens }) => tokens === undefined)
  const words = (some: readonly LeftOut[], what: string, place: (one: LeftOut) => string): string[] => {
    if (some.length === 0) return []
    const more = some.length > SHOWN ? ` and ${some.length - SHOWN} more` : ''
    const places = some.slice(0, SHOWN).map((one) => `line ${one.line} (${place(one)})`).join(', ') // prettier-ignore
    return [
      `${file}: ${some.length} of ${of} samples are ${what}: ${places}${more}; all are listed in ${LEFT_OUT_FILE}`
    ]
  }
  return [
    ...words(long, `longer than max_length ${maxLength} tokens and left out whole`, ({ tokens }) => `${tokens} tokens`),
    ...words(malformed, 'malformed and left out', ({ reason }) => reason)
  ]
}
