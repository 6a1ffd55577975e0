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
  /** Tokens up to where the assistant begins. */
  promptTokens(messages: readonly ChatMessage[]): Int32Array
  /** Tokens of a trace as the assistant writes it, the end-of-turn token included. */
  responseTokens(messages: readonly ChatMessage[], thinking: string, answer: string): Int32Array
  parse(tokens: Int32Array): ParsedTrace
}

/** Thought and answer as they stand in the assistant's message. Newlines keep spelled-out tags from merging with words. */
export function traceText(thinking: string, answer: string, spelledOut: boolean): string {
  const gap = spelledOut ? '\n' : ''
  return `${THINK_TAGS.open}${gap}${thinking.trim()}${gap}${THINK_TAGS.close}${gap}${answer.trim()}`
}

export function dialogueOf(vocabulary: Vocabulary): Dialogue {
  const open = vocabulary.specialToken(THINK_TAGS.open)
  const close = vocabulary.specialToken(THINK_TAGS.close)
  const thinkIds = open !== null && close !== null ? { open, close, endOfTurn: [vocabulary.eos] } : null
  const promptText = (messages: readonly ChatMessage[]): string =>
    vocabulary.render(messages, { addGenerationPrompt: true })
  return {
    vocabulary,
    thinkIds,
    promptTokens: (messages) => vocabulary.tokenize(promptText(messages), { special: true }),
    responseTokens: (messages, thinking, answer) => {
      const content = traceText(thinking, answer, thinkIds === null)
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
        : parseTaggedText(vocabulary.decode(ended))
    }
  }
}

/** What the recipe asks a model: the system message, where there is one, and the task. */
export function taskMessages(prompt: string, systemMessage: string): ChatMessage[] {
  const user = { role: 'user', content: prompt } as const
  return systemMessage === '' ? [user] : [{ role: 'system', content: systemMessage }, user]
}
