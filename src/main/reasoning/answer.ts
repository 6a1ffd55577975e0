/**
 * Finds the final answer in a text and reads it. Priority: the last `\boxed{}` or `\fbox{}`; a phrase (`Final Answer:`,
 * `the answer is`, `#### N`), last one first; a text whose whole or last line is a value. A number somewhere in a sentence
 * is not an answer, unless `lenient` asks for the last number in the text (paper-facts 5.2).
 */
import { looksMathematical, plainNotation } from './notation.ts'
import { readValue, type Value } from './value.ts'

export type ExtractedBy = 'boxed' | 'final answer' | 'answer phrase' | 'hashes' | 'plain' | 'last number'

export type Extraction =
  | { readonly kind: 'answer'; readonly by: ExtractedBy; readonly raw: string; readonly value: Value }
  | { readonly kind: 'unreadable'; readonly why: string }

/** Answers stand at the end: only this many characters from the end are looked at. */
const MAX_TEXT_CHARACTERS = 20000
const REFUSAL =
  /\b(?:cannot|can't|can not|won't|will not|unable|refuse|don't|do not|doesn't|does not|isn't|not sure)\b/i

export type Located =
  | { readonly kind: 'located'; readonly by: ExtractedBy; readonly raw: string }
  | { readonly kind: 'unreadable'; readonly why: string }

/** The content of the last box. Braces may nest; an escaped brace counts as text. */
function lastBox(text: string): Located | null {
  const at = Math.max(text.lastIndexOf('\\boxed'), text.lastIndexOf('\\fbox'), text.lastIndexOf('\\framebox'))
  if (at < 0) return null
  const from = at + /^\\[a-z]+\s*/.exec(text.slice(at, at + 40))![0].length
  if (text[from] !== '{') {
    const bare = /^[^\s${}\\]+/.exec(text.slice(from, from + 100))?.[0]
    return bare === undefined ? { kind: 'unreadable', why: 'empty box' } : { kind: 'located', by: 'boxed', raw: bare }
  }
  let depth = 0
  for (let i = from; i < text.length; i++) {
    const char = text[i]
    if (char === '\\') i++
    else if (char === '{') depth++
    else if (char === '}' && --depth === 0) {
      const raw = text.slice(from + 1, i)
      return raw.trim() === '' ? { kind: 'unreadable', why: 'empty box' } : { kind: 'located', by: 'boxed', raw }
    }
  }
  return { kind: 'unreadable', why: 'unbalanced braces' }
}

const PHRASES: readonly (readonly [ExtractedBy, RegExp])[] = [
  ['final answer', /final answer[*_]*(?:\s+is|\s*[:=])+[ \t*_]*\s*/gi],
  ['answer phrase', /\b(?:answer|result)[*_]*(?:\s+is|\s*[:=])+[ \t*_]*\s*/gi],
  ['hashes', /^[ \t]*####\s*/gm]
]

/** The sentence before a phrase refuses or denies: `I cannot say the answer is 12`. */
const denied = (text: string, at: number): boolean => {
  const before = text.slice(Math.max(0, at - 200), at)
  return REFUSAL.test(before.slice(before.search(/[^.!?\n]*$/)))
}

/** What follows a phrase, longest reading first: to the end of the sentence, then to the first joining word. */
function candidates(rest: string): string[] {
  const line = /^[^\n]*/.exec(rest)![0]
  const sentence = /^(?:[^.!?]|[.!?](?=\S))*/.exec(line)![0]
  const clause = sentence.split(
    /,\s+(?=[a-zA-Z])|\s+(?:because|since|so|as|which|where|and (?:thus|so)|wait)\b|\s+\(/
  )[0]!
  return [sentence, clause].map((part) => part.trim()).filter((part) => part !== '')
}

function lastPhrase(text: string): Located | null {
  for (const [by, pattern] of PHRASES) {
    const matches = [...text.matchAll(pattern)].filter((match) => !denied(text, match.index))
    const last = matches.at(-1)
    if (!last) continue
    const options = candidates(text.slice(last.index + last[0].length, last.index + last[0].length + 500))
    const numeric = options.find((option) => ['number', 'list'].includes(readValue(option).kind))
    const raw = numeric ?? options.at(-1)
    return raw === undefined
      ? { kind: 'unreadable', why: 'nothing after the answer phrase' }
      : { kind: 'located', by, raw }
  }
  return null
}

/** The whole text, or its last line, when that is a value and nothing else. */
function plainValue(text: string): Located | null {
  const lines = text.split('\n').filter((line) => line.trim() !== '')
  const last = lines.at(-1)?.trim() ?? ''
  if (last === '' || last.length > 200) return null
  const value = readValue(last)
  const readable =
    value.kind === 'number' || value.kind === 'list' || (value.kind === 'expression' && looksMathematical(value.plain))
  return readable ? { kind: 'located', by: 'plain', raw: last } : null
}

function lastNumber(text: string): Located | null {
  const raw = [...plainNotation(text).matchAll(/-?(?:\d[\d,]*(?:\.\d+)?|\.\d+)(?:\s*\/\s*\d+)?%?/g)].at(-1)?.[0]
  return raw === undefined ? null : { kind: 'located', by: 'last number', raw: raw.replace(/,+$/, '') }
}

/** Where the answer stands, as text: for checkers that read it in their own way (countdown). */
export function locateAnswer(text: string, options: { readonly lenient?: boolean } = {}): Located {
  const tail = text.slice(-MAX_TEXT_CHARACTERS)
  const found = lastBox(tail) ?? lastPhrase(tail) ?? plainValue(tail) ?? (options.lenient ? lastNumber(tail) : null)
  return found ?? { kind: 'unreadable', why: tail.trim() === '' ? 'empty answer' : 'no answer found' }
}

/** The final answer of a text (the part after the thought). Never throws; any input is answered within milliseconds. */
export function extractAnswer(text: string, options: { readonly lenient?: boolean } = {}): Extraction {
  const found = locateAnswer(text, options)
  if (found.kind === 'unreadable') return found
  const value = readValue(found.raw)
  return value.kind === 'unreadable' ? value : { ...found, kind: 'answer', value }
}

/**
 * AIME's own rule, bug for bug (paper-facts 5.1): case-sensitive `Final Answer:`, first bare number wins, a bracketed one
 * only where no bare one is anywhere; `%` divides by 100. null: none.
 */
export function extractAime(text: string): number | null {
  const number = String.raw`(\$?-?\d[\d,]*(?:\.\d+)?%?)`
  const match =
    new RegExp(String.raw`Final Answer:\s*${number}`).exec(text) ??
    new RegExp(String.raw`Final Answer:\s*\[\s*${number}\s*\]`).exec(text)
  if (!match) return null
  const digits = match[1]!.replace(/[$,%]/g, '')
  return match[1]!.endsWith('%') ? Number(digits) / 100 : Number(digits)
}
