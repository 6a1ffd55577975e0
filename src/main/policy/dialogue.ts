/**
 * How this base is spoken to: prompts through its own chat template, thoughts between its think tokens (or, where it has
 * none, between tags spelled out as text), and sampled tokens taken apart again. SFT, GRPO and evaluation share this, so
 * that what is taught, sampled and graded has one form.
 */
import { reasoningSystemMessage } from '../reasoning/prompts.ts'
import { THINK_TAGS, parseTaggedText, parseTrace } from '../reasoning/trace.ts'
import type { ParsedTrace, ThinkIds, ThinkTags } from '../reasoning/trace.ts'
import type { ChatMessage, Vocabulary } from '../engine/vocabulary.ts'

export type Dialogue = {
  readonly vocabulary: Vocabulary
  /** Null: the tags are ordinary text. */
  readonly thinkIds: ThinkIds | null
  /** The chat template ends every prompt with the opening tag, so that a response begins inside its thought. */
  readonly opened: boolean
  /** How the tags are spelled: as the base was prepared, else `THINK_TAGS`. */
  readonly tags: ThinkTags
  /** What is said before every question unless a recipe says otherwise: the base's own fixed message, else the usual one. */
  readonly systemMessage: string
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
export function traceText(thinking: string, answer: string, spelledOut: boolean, tags: ThinkTags = THINK_TAGS): string {
  const gap = spelledOut ? '\n' : ''
  return `${tags.open}${gap}${thinking.trim()}${gap}${tags.close}${gap}${answer.trim()}`
}

/** Whether a prompt ends inside a thought: a tag that is opened and not closed again. */
export const opensThought = (
  prompt: Int32Array,
  { vocabulary, tags }: Pick<Dialogue, 'vocabulary' | 'tags'>
): boolean => endsOpened(vocabulary.decode(prompt.slice(-TAG_TOKENS)), tags)

/** A tag and white space after it never take more tokens than this, also where it is spelled out. */
const TAG_TOKENS = 16
const endsOpened = (text: string, { open }: ThinkTags): boolean => text.trimEnd().endsWith(open)

/** Throws AppError('model') where the chat template cannot render a prompt. */
export function dialogueOf(vocabulary: Vocabulary): Dialogue {
  const { prepared } = vocabulary
  const tags = { open: prepared.open ?? THINK_TAGS.open, close: prepared.close ?? THINK_TAGS.close }
  const open = vocabulary.specialToken(tags.open)
  const close = vocabulary.specialToken(tags.close)
  const thinkIds = open !== null && close !== null ? { open, close, endOfTurn: [vocabulary.eos] } : null
  const promptText = (messages: readonly ChatMessage[]): string =>
    vocabulary.render(messages, { addGenerationPrompt: true })
  const opened = vocabulary.hasChatTemplate && endsOpened(promptText([{ role: 'user', content: 'Hello' }]), tags)
  const options = { openedByPrompt: opened }
  const withoutEnd = (response: Int32Array): Int32Array =>
    vocabulary.isEndOfGeneration(response.at(-1) ?? -1) ? response.subarray(0, -1) : response

  /** What follows the prompt once the assistant has written this trace, whatever the template adds after it. */
  const responseText = (messages: readonly ChatMessage[], thinking: string, answer: string): string => {
    const content = traceText(thinking, answer, thinkIds === null, tags)
    const whole = vocabulary.render([...messages, { role: 'assistant', content }], { addGenerationPrompt: false })
    const before = promptText(messages)
    if (whole.startsWith(before)) return whole.slice(before.length)
    // Templates that open the thought often leave it out of messages that are there already: they give the end of the turn.
    const end = whole.lastIndexOf(answer.trim())
    if (endsOpened(before, tags) && end >= 0)
      return content.slice(tags.open.length).trimStart() + whole.slice(end + answer.trim().length)
    // A template that moves or rewrites what stands before the answer teaches something else than it samples.
    throw new Error('the chat template renders the prompt differently once an answer follows')
  }
  return {
    vocabulary,
    thinkIds,
    opened,
    tags,
    systemMessage: prepared.systemMessage ?? reasoningSystemMessage(tags),
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
        : parseTaggedText(vocabulary.decode(withoutEnd(response)), tags, options),
    written: (response) => (opened ? tags.open : '') + vocabulary.decode(withoutEnd(response))
  }
}

/** What the recipe asks a model: the system message, where there is one, and the task. */
export function taskMessages(prompt: string, systemMessage: string): ChatMessage[] {
  const user = { role: 'user', content: prompt } as const
  return systemMessage === '' ? [user] : [{ role: 'system', content: systemMessage }, user]
}
