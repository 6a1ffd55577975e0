/**
 * How this base is spoken to: prompts through its own chat template, thoughts between its think tokens (or, where it has
 * none, between tags spelled out as text), and sampled tokens taken apart again. SFT, GRPO and evaluation share this, so
 * that what is taught, sampled and graded has one form.
 */
import { THINK_TAGS, parseTaggedText, parseTrace } from '../reasoning/trace.ts'
import type { ParsedTrace, ThinkIds } from '../reasoning/trace.ts'
import type { ChatMessage, Vocabulary } from '../engine/vocabulary.ts'

export type Dialogue = {
  readonly vocabulary: Vocabulary
  /** Null: the tags are ordinary text. */
  readonly thinkIds: ThinkIds | null
  /** The chat template ends every prompt with the opening tag, so that a response begins inside its thought. */
  readonly opened: boolean
  /** Tokens up to where the assistant begins. */
  promptTokens(messages: readonly ChatMessage[]): Int32Array
  /** Tokens of a trace as the assistant writes it after the prompt, the end-of-turn token included. */
  responseTokens(messages: readonly ChatMessage[], thinking: string, answer: string): Int32Array
  /** Thought and answer of a response to a prompt of `promptTokens`. */
  parse(response: Int32Array): ParsedTrace
  /** A response as the whole message it is: with the tag that the prompt opened, without the end-of-turn token. */
  written(response: Int32Array): string
}

/** Thought and answer as they stand in the assistant's message. Newlines keep spelled-out tags from merging with words. */
export function traceText(thinking: string, answer: string, spelledOut: boolean): string {
  const gap = spelledOut ? '\n' : ''
  return `${THINK_TAGS.open}${gap}${thinking.trim()}${gap}${THINK_TAGS.close}${gap}${answer.trim()}`
}

/** Whether a prompt ends inside a thought: a tag that is opened and not closed again. */
export const opensThought = (prompt: Int32Array, vocabulary: Vocabulary): boolean =>
  endsOpened(vocabulary.decode(prompt.slice(-TAG_TOKENS)))

/** A tag and white space after it never take more tokens than this, also where it is spelled out. */
const TAG_TOKENS = 16
const endsOpened = (text: string): boolean => text.trimEnd().endsWith(THINK_TAGS.open)

/** Throws AppError('model') where the chat template cannot render a prompt. */
export function dialogueOf(vocabulary: Vocabulary): Dialogue {
  const open = vocabulary.specialToken(THINK_TAGS.open)
  const close = vocabulary.specialToken(THINK_TAGS.close)
  const thinkIds = open !== null && close !== null ? { open, close, endOfTurn: [vocabulary.eos] } : null
  const promptText = (messages: readonly ChatMessage[]): string =>
    vocabulary.render(messages, { addGenerationPrompt: true })
  const opened = vocabulary.hasChatTemplate && endsOpened(promptText([{ role: 'user', content: 'Hello' }]))
  const options = { openedByPrompt: opened }
  const withoutEnd = (response: Int32Array): Int32Array =>
    vocabulary.isEndOfGeneration(response.at(-1) ?? -1) ? response.subarray(0, -1) : response

  /** What follows the prompt once the assistant has written this trace, whatever the template adds after it. */
  const responseText = (messages: readonly ChatMessage[], thinking: string, answer: string): string => {
    const content = traceText(thinking, answer, thinkIds === null)
    const whole = vocabulary.render([...messages, { role: 'assistant', content }], { addGenerationPrompt: false })
    const before = promptText(messages)
    if (whole.startsWith(before)) return whole.slice(before.length)
    // Templates that open the thought often leave it out of messages that are there already: they give the end of the turn.
    const end = whole.lastIndexOf(answer.trim())
    if (endsOpened(before) && end >= 0)
      return content.slice(THINK_TAGS.open.length).trimStart() + whole.slice(end + answer.trim().length)
    // A template that moves or rewrites what stands before the answer teaches something else than it samples.
    throw new Error('the chat template renders the prompt differently once an answer follows')
  }
  return {
    vocabulary,
    thinkIds,
    opened,
    promptTokens: (messages) => vocabulary.tokenize(promptText(messages), { special: true }),
    responseTokens: (messages, thinking, answer) => {
      const tokens = vocabulary.tokenize(responseText(messages, thinking, answer), { special: true })
      const end = tokens.findIndex((token) => vocabulary.isEndOfGeneration(token))
      if (end < 0) throw new Error('the chat template ends the answer without an end-of-turn token')
      return tokens.slice(0, end + 1)
    },
    parse: (response) =>
      thinkIds
        ? parseTrace(withoutEnd(response), thinkIds, (part) => vocabulary.decode(part), options)
        : parseTaggedText(vocabulary.decode(withoutEnd(response)), THINK_TAGS, options),
    written: (response) => (opened ? THINK_TAGS.open : '') + vocabulary.decode(withoutEnd(response))
  }
}

/** What the recipe asks a model: the system message, where there is one, and the task. */
export function taskMessages(prompt: string, systemMessage: string): ChatMessage[] {
  const user = { role: 'user', content: prompt } as const
  return systemMessage === '' ? [user] : [{ role: 'system', content: systemMessage }, user]
}
