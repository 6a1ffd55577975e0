/**
 * What the recipe says before every question, in training and at inference alike (paper-facts 3.4: one fixed message; the
 * report found that varying it lowers the score under it). Own words; a recipe may replace it with `system_message`.
 */
import { THINK_TAGS, type ThinkTags } from './trace.ts'

/** The fixed reasoning system message, for bases that read English. */
export const reasoningSystemMessage = (tags: ThinkTags = THINK_TAGS): string =>
  [
    'Explore the question thoroughly before you settle on an answer.',
    `Reply in two parts: ${tags.open} your thought ${tags.close} your solution.`,
    'In the thought, say what is asked, gather what is known, work in small steps, check each result, and go back when a check fails.',
    'In the solution, give only the correct final answer with the steps it needs, short and in order, and put the result in \\boxed{}.'
  ].join(' ')

export const REASONING_SYSTEM_MESSAGE: string = reasoningSystemMessage()

/** The same in six words, for models of a few million parameters, where every prompt token costs. */
export const BRIEF_SYSTEM_MESSAGE = 'Think step by step, then answer.'
