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
  /** How the tags are spelled: as the base was prepared, else `THINK_TAGS`. */
  readonly tags: ThinkTags
  /** What is said before every question unless a recipe says otherwise: the base's own fixed message, else the usual one. */
  readonly systemMessage: string
  /** Tokens up to where the assistant begins. */
  promptTokens(messages: readonly ChatMessage[]): Int32Array
  /** Tokens of a trace as the assistant writes it, the end-of-turn token included. */
  responseTokens(messages: readonly ChatMessage[], thinking: string, answer: string): Int32Array
  parse(tokens: Int32Array): ParsedTrace
}

/** Thought and answer as they stand in the assistant's message. Newlines keep spelled-out tags from merging with words. */
export function traceText(thinking: string, answer: string, spelledOut: boolean, tags: ThinkTags = THINK_TAGS): string {
  const gap = spelledOut ? '\n' : ''
  return `${tags.open}${gap}${thinking.trim()}${gap}${tags.close}${gap}${answer.trim()}`
}

export function dialogueOf(vocabulary: Vocabulary): Dialogue {
  const { prepared } = vocabulary
  const tags = { open: prepared.open ?? THINK_TAGS.open, close: prepared.close ?? THINK_TAGS.close }
  const open = vocabulary.specialToken(tags.open)
  const close = vocabulary.specialToken(tags.close)
  const thinkIds = open !== null && close !== null ? { open, close, endOfTurn: [vocabulary.eos] } : null
  const promptText = (messages: readonly ChatMessage[]): string =>
    vocabulary.render(messages, { addGenerationPrompt: true })
  return {
    vocabulary,
    thinkIds,
    tags,
    systemMessage: prepared.systemMessage ?? reasoningSystemMessage(tags),
    promptTokens: (messages) => vocabulary.tokenize(promptText(messages), { special: true }),
    responseTokens: (messages, thinking, answer) => {
      const content = traceText(thinking, answer, thinkIds === null, tags)
      const whole = vocabulary.render([...messages, { role: 'assistant', content }], { addGenerationPrompt: false })
      const before = promptText(messages)
      // A template that moves or rewrites what stands before the answer teaches something else than it samples.
      if (!whole.startsWith(before))
        throw new Error('the chat template renders the prompt differently once an answer follows')
      const tokens = vocabulary.tokenize(whole.slice(before.length), { special: true })
      const end = tokens.findIndex((token) => vocabulary.isEndOfGeneration(token))
      if (end < 0) throw new Error('the chat template ends the answer without an end-of-turn token')
      return tokens.slice(0, end + 1)
    },
    parse: (tokens) => {
      const ended = vocabulary.isEndOfGeneration(tokens.at(-1) ?? -1) ? tokens.subarray(0, -1) : tokens
      return thinkIds
        ? parseTrace(ended, thinkIds, (part) => vocabulary.decode(part as Iterable<number>))
        : parseTaggedText(vocabulary.decode(ended), tags)
    }
  }
}

/** What the recipe asks a model: the system message, where there is one, and the task. */
export function taskMessages(prompt: string, systemMessage: string): ChatMessage[] {
  const user = { role: 'user', content: prompt } as const
  return systemMessage === '' ? [user] : [{ role: 'system', content: systemMessage }, user]
}
