/**
 * Reads `messages` JSONL, the format teachers and trainers share: one conversation a line, its last message the
 * assistant's trace, the thought either in `reasoning_content` or between `<think>` tags inside `content`. Pure: text in;
 * samples and the lines that are none, each with its reason, out.
 */
import { z } from 'zod'
import { AppError } from '../../../shared/errors.ts'
import type { Trace } from '../../../shared/task.ts'

export type Message = { readonly role: 'system' | 'user' | 'assistant'; readonly content: string }

/** One conversation to learn from: what led up to the trace, and the trace. */
export type Sample = Trace & {
  /** Everything before the last assistant message. Thoughts of earlier assistant messages are left out, as at inference. */
  readonly messages: readonly Message[]
  /** Line of the file, from 1. */
  readonly line: number
}

/** A line that cannot be learned from. */
export type BadLine = { readonly line: number; readonly why: string }

export type MessagesFile = {
  readonly file: string
  readonly samples: readonly Sample[]
  readonly bad: readonly BadLine[]
}

export const OPEN_TAG = '<think>'
export const CLOSE_TAG = '</think>'

const Row = z.object({
  messages: z
    .array(
      z.object({
        role: z.enum(['system', 'user', 'assistant']),
        content: z.string(),
        reasoning_content: z.string().nullish()
      })
    )
    .min(1)
})
type RowMessage = z.infer<typeof Row>['messages'][number]

/** Reads every line of `text`. Blank lines are skipped; a file without any other is refused. */
export function readMessages(text: string | Iterable<string>, file: string): MessagesFile {
  const lines = typeof text === 'string' ? text.split('\n') : text
  const samples: Sample[] = []
  const bad: BadLine[] = []
  let line = 0
  for (const raw of lines) {
    line++
    const content = (line === 1 ? raw.replace(/^\uFEFF/, '') : raw).trim()
    if (content === '') continue
    const sample = readLine(content, line)
    if ('why' in sample) bad.push(sample)
    else samples.push(sample)
  }
  if (samples.length + bad.length === 0)
    throw new AppError('data', `${file} is empty`, 'messages JSONL is needed: one conversation a line')
  return { file, samples, bad }
}

/** `FILE:LINE: why`, as an error names it. */
export const badLineText = (file: string, { line, why }: BadLine): string => `${file}:${line}: ${why}`

function readLine(text: string, line: number): Sample | BadLine {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (error) {
    return { line, why: `not JSON: ${(error as Error).message}` }
  }
  const row = Row.safeParse(value)
  if (!row.success) return { line, why: firstIssue(row.error) }
  const messages = row.data.messages
  const last = messages.at(-1)!
  if (last.role !== 'assistant') {
    const any = messages.some((message) => message.role === 'assistant')
    return { line, why: any ? 'the last message is not the assistant’s' : 'no assistant message' }
  }
  const order = orderProblem(messages)
  if (order !== null) return { line, why: order }
  const trace = splitTrace(last)
  if ('why' in trace) return { line, why: trace.why }
  return { messages: messages.slice(0, -1).map(withoutThought), ...trace, line }
}

function firstIssue(error: z.ZodError): string {
  const issue = error.issues[0]!
  const where = issue.path.map((key) => (typeof key === 'number' ? `[${key}]` : `.${String(key)}`)).join('')
  return `${where === '' ? 'the row' : where.replace(/^\./, '')}: ${issue.message}`
}

/** A system message comes first or not at all, and the assistant answers a user. */
function orderProblem(messages: readonly RowMessage[]): string | null {
  if (messages.some((message, i) => message.role === 'system' && i > 0))
    return 'a system message after the first message'
  return messages.at(-2)?.role === 'user' ? null : 'the assistant’s message does not follow a user’s'
}

/** The thought and the answer of an assistant message, trimmed. */
function splitTrace({ content, reasoning_content }: RowMessage): Trace | { readonly why: string } {
  const opens = count(content, OPEN_TAG)
  const closes = count(content, CLOSE_TAG)
  const apart = typeof reasoning_content === 'string'
  if (apart && opens + closes > 0) return { why: `reasoning_content beside ${OPEN_TAG} tags in content: two thoughts` }
  if (apart && count(reasoning_content, OPEN_TAG) + count(reasoning_content, CLOSE_TAG) > 0) {
    return { why: `reasoning_content holds a ${OPEN_TAG} or ${CLOSE_TAG} tag` }
  }
  if (apart) return checked(reasoning_content, content)
  if (opens !== 1 || closes !== 1)
    return { why: `${opens} ${OPEN_TAG} and ${closes} ${CLOSE_TAG} tags, exactly one of each is needed` }
  const start = content.indexOf(OPEN_TAG)
  const end = content.indexOf(CLOSE_TAG)
  if (end < start) return { why: `${CLOSE_TAG} before ${OPEN_TAG}` }
  if (content.slice(0, start).trim() !== '') return { why: `text before ${OPEN_TAG}` }
  return checked(content.slice(start + OPEN_TAG.length, end), content.slice(end + CLOSE_TAG.length))
}

function checked(thinking: string, answer: string): Trace | { readonly why: string } {
  if (thinking.trim() === '') return { why: 'empty thought' }
  if (answer.trim() === '') return { why: 'empty answer' }
  return { thinking: thinking.trim(), answer: answer.trim() }
}

/** An earlier message as the model will see it: the answer alone. */
function withoutThought({ role, content }: RowMessage): Message {
  const end = role === 'assistant' ? content.lastIndexOf(CLOSE_TAG) : -1
  return { role, content: end === -1 ? content : content.slice(end + CLOSE_TAG.length).trim() }
}

const count = (text: string, tag: string): number => text.split(tag).length - 1
