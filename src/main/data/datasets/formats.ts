/**
 * The forms in which traces and tasks are passed around, found out by a file's columns and turned into the two this program
 * reads: `messages` to teach from, prompt and solution to grade by. A row is checked by the recipe's own reader.
 */
import { AppError } from '../../../shared/errors.ts'
import { OPEN_TAG, readMessages } from '../prepare/messages.ts'
import { readTasks } from '../../reasoning/tasks/index.ts'
import type { SourceRow } from './containers.ts'

export type Format = 'messages' | 'sharegpt' | 'alpaca' | 'prompt_completion' | 'prompt_solution' | 'gsm8k'
/** Role to column. */
export type Mapping = Readonly<Record<string, string>>
export type Use = 'traces' | 'tasks'
export type Guess = { readonly format: Format | null; readonly mapping: Mapping; readonly why: string }
export type Converted = { readonly body: Readonly<Record<string, unknown>> } | { readonly problem: string }

type Spec = {
  readonly use: Use
  /** Roles in order of importance, with the columns that usually play them. `?`: may be missing. */
  readonly roles: Readonly<Record<string, readonly string[]>>
  readonly optional: readonly string[]
  /** What speaks for this format beside its columns. */
  readonly fits: (cell: (role: string) => unknown) => boolean
  readonly convert: (cell: (role: string) => unknown) => Readonly<Record<string, unknown>> | string
}

const text = (value: unknown): string | null =>
  typeof value === 'string' ? value : typeof value === 'number' || typeof value === 'boolean' ? String(value) : null
const filled = (value: unknown): string | null => {
  const found = text(value)
  return found === null || found.trim() === '' ? null : found
}
const list = (value: unknown): readonly Record<string, unknown>[] | null => {
  const parsed: unknown = typeof value === 'string' && value.trimStart().startsWith('[') ? tryJson(value) : value
  return Array.isArray(parsed) && parsed.length > 0 && parsed.every((one) => typeof one === 'object' && one !== null)
    ? (parsed as Record<string, unknown>[])
    : null
}
const tryJson = (value: string): unknown => {
  try {
    return JSON.parse(value)
  } catch {
    return null
  }
}

const SPEAKERS: Readonly<Record<string, string>> = { human: 'user', user: 'user', gpt: 'assistant', assistant: 'assistant', chatgpt: 'assistant', bing: 'assistant', bard: 'assistant', model: 'assistant', system: 'system' } // prettier-ignore
const PROMPTS = ['prompt', 'question', 'problem', 'query', 'input', 'instruction', 'task']
const THOUGHTS = ['thinking', 'reasoning', 'reasoning_content', 'thought', 'rationale', 'chain_of_thought', 'cot']

const trace = (
  prompt: string,
  answer: string,
  thinking: string | null,
  system: string | null
): Record<string, unknown> => ({
  messages: [
    ...(system === null ? [] : [{ role: 'system', content: system }]),
    { role: 'user', content: prompt },
    { role: 'assistant', content: answer, ...(thinking !== null && { reasoning_content: thinking }) }
  ]
})

/** In the order in which they are tried. */
const SPECS: Readonly<Record<Format, Spec>> = {
  messages: {
    use: 'traces',
    roles: { messages: ['messages', 'conversation', 'conversations', 'chat', 'dialogue'] },
    optional: [],
    fits: (cell) => list(cell('messages'))?.every((turn) => 'role' in turn && 'content' in turn) ?? false,
    convert: (cell) => {
      const turns = list(cell('messages'))
      return turns === null ? 'no list of messages' : { messages: turns }
    }
  },
  sharegpt: {
    use: 'traces',
    roles: {
      conversations: ['conversations', 'conversation', 'messages', 'items'],
      system: ['system', 'system_prompt']
    },
    optional: ['system'],
    fits: (cell) => list(cell('conversations'))?.every((turn) => 'from' in turn && 'value' in turn) ?? false,
    convert: (cell) => {
      const turns = list(cell('conversations'))
      if (turns === null) return 'no list of turns'
      const foreign = turns.find(({ from }) => SPEAKERS[String(from)] === undefined)
      if (foreign !== undefined) return `"${String(foreign['from'])}" is no speaker that is known`
      const system = filled(cell('system'))
      const said = turns.map(({ from, value }) => ({ role: SPEAKERS[String(from)], content: text(value) ?? '' }))
      return { messages: [...(system === null ? [] : [{ role: 'system', content: system }]), ...said] }
    }
  },
  gsm8k: {
    use: 'tasks',
    roles: { question: ['question'], answer: ['answer'] },
    optional: [],
    fits: (cell) => /^\s*####\s*\S/m.test(text(cell('answer')) ?? ''),
    convert: (cell) => ({ question: text(cell('question')), answer: text(cell('answer')) })
  },
  alpaca: {
    use: 'traces',
    roles: {
      instruction: ['instruction'],
      input: ['input'],
      output: ['output', 'response'],
      thinking: THOUGHTS,
      system: ['system', 'system_prompt']
    },
    optional: ['input', 'thinking', 'system'],
    fits: () => true,
    convert: (cell) => {
      const [instruction, output] = [filled(cell('instruction')), filled(cell('output'))]
      if (instruction === null) return 'no instruction'
      if (output === null) return 'no output'
      const input = filled(cell('input'))
      return trace(
        input === null ? instruction : `${instruction}\n\n${input}`,
        output,
        filled(cell('thinking')),
        filled(cell('system'))
      )
    }
  },
  prompt_completion: {
    use: 'traces',
    roles: {
      prompt: PROMPTS,
      completion: ['completion', 'response', 'output', 'generation', 'answer', 'solution', 'text'],
      thinking: THOUGHTS,
      system: ['system', 'system_prompt']
    },
    optional: ['thinking', 'system'],
    fits: (cell) => (text(cell('completion')) ?? '').includes(OPEN_TAG) || filled(cell('thinking')) !== null,
    convert: (cell) => {
      const [prompt, completion] = [filled(cell('prompt')), filled(cell('completion'))]
      if (prompt === null) return 'no prompt'
      return completion === null
        ? 'no completion'
        : trace(prompt, completion, filled(cell('thinking')), filled(cell('system')))
    }
  },
  prompt_solution: {
    use: 'tasks',
    roles: {
      prompt: PROMPTS,
      solution: ['solution', 'answer', 'final_answer', 'ground_truth', 'target', 'expected_answer', 'label', 'result']
    },
    optional: [],
    fits: () => true,
    convert: (cell) => {
      const [prompt, solution] = [filled(cell('prompt')), filled(cell('solution'))]
      if (prompt === null) return 'no prompt'
      return solution === null ? 'no solution' : { prompt, solution }
    }
  }
}

export const useOf = (format: Format): Use => SPECS[format].use

/** The columns that play a format's roles, or null when a needed one is missing. */
export function mappingFor(format: Format, columns: readonly string[]): Mapping | null {
  const found = knownRoles(format, columns)
  const { roles, optional } = SPECS[format]
  return Object.keys(roles).every((role) => role in found || optional.includes(role)) ? found : null
}

/** The roles whose columns can be told by their names; a person chooses the others. */
export function knownRoles(format: Format, columns: readonly string[]): Mapping {
  const found: Record<string, string> = {}
  for (const [role, names] of Object.entries(SPECS[format].roles)) {
    const column = names
      .map((name) => columns.find((one) => one.toLowerCase() === name && !Object.values(found).includes(one)))
      .find((one) => one !== undefined)
    if (column !== undefined) found[role] = column
  }
  return found
}

/** Which format rows are in, and why it is thought so. */
export function detectFormat(columns: readonly string[], rows: readonly SourceRow[]): Guess {
  for (const format of Object.keys(SPECS) as Format[]) {
    const mapping = mappingFor(format, columns)
    if (mapping === null) continue
    const fitting = rows.filter((row) => SPECS[format].fits((role) => row[mapping[role] ?? ''])).length
    if (rows.length === 0 || fitting * 2 < rows.length) continue
    const named = Object.entries(mapping).map(([role, column]) => (role === column ? column : `${role} from ${column}`))
    return { format, mapping, why: `${named.join(', ')}: ${WORDS[format]}` }
  }
  const shown = columns.slice(0, 12).join(', ')
  return {
    format: null,
    mapping: {},
    why: `the columns ${shown === '' ? 'are not named' : shown} fit no format; choose one and say which column plays which part`
  }
}

const WORDS: Readonly<Record<Format, string>> = {
  messages: 'conversations with roles, to teach from',
  sharegpt: 'conversations in ShareGPT’s form, to teach from',
  alpaca: 'instructions and outputs in Alpaca’s form, to teach from',
  prompt_completion: 'prompts and completions with a thought, to teach from',
  prompt_solution: 'tasks with a reference solution, to be answered and graded',
  gsm8k: 'tasks in GSM8K’s form, to be answered and graded'
}

/** A row as it will be kept, or why it cannot be. */
export function convertRow(row: SourceRow, format: Format, mapping: Mapping): Converted {
  const { convert, use } = SPECS[format]
  const body = convert((role) => {
    const column = mapping[role]
    return column === undefined ? undefined : row[column]
  })
  if (typeof body === 'string') return { problem: body }
  const line = JSON.stringify(body)
  if (use === 'traces') {
    const why = readMessages([line], 'row').bad[0]?.why
    return why === undefined ? { body } : { problem: why }
  }
  try {
    const why = readTasks(line, { source: 'row', format }).rejections[0]?.why
    return why === undefined ? { body } : { problem: why }
  } catch (error) {
    if (!(error instanceof AppError)) throw error
    return { problem: error.message.replace(/^.*?line 1: /, '') } // the reader refuses a file without any task
  }
}

/** What a row says, without its names: what is searched, and what makes two rows the same. */
export function saidIn(value: unknown): string {
  if (typeof value === 'string') return value
  if (Array.isArray(value)) return value.map(saidIn).join('\n')
  if (typeof value === 'object' && value !== null) {
    return Object.entries(value)
      .filter(([name]) => name !== 'role')
      .map(([, one]) => saidIn(one))
      .join('\n')
  }
  return value === null || value === undefined ? '' : String(value)
}
