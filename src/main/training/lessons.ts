/**
 * Lessons: samples of a messages file as tokens, rendered through the model's own template and checked before anything
 * trains. Long ones are left out whole, never cut inside a thought.
 */
import { readFileSync } from 'node:fs'
import { AppError } from '../../shared/errors.ts'
import type { SftRecipe } from '../../shared/recipe.ts'
import { badLineText, readMessages } from '../data/prepare/messages.ts'
import type { Sample } from '../data/prepare/messages.ts'
import type { TrainSequence } from '../engine/batch.ts'
import { epochs } from './epochs.ts'
import type { Dialogue } from '../policy/dialogue.ts'

/** `tokens` is prompt and response, `mask` marks the response. */
export type Lesson = TrainSequence & { readonly prompt: Int32Array }

export const trainedTokens = (lessons: readonly TrainSequence[]): number =>
  lessons.reduce((sum, { mask }) => sum + mask.reduce((n, bit) => n + bit, 0), 0)

/** Optimizer steps of a run: batches follow one another without a break, so a pass need not end with a batch. */
export const stepsOf = (lessons: number, recipe: SftRecipe): number =>
  recipe.max_steps ?? Math.ceil((lessons * recipe.num_train_epochs) / recipe.train_batch_size)

/** The lessons of a step, counted from 1. */
export function batchSource(lessons: readonly Lesson[], recipe: SftRecipe): (step: number) => Lesson[] {
  const lessonAt = epochs(lessons, recipe.seed, 'epoch')
  const size = recipe.train_batch_size
  return (step) => Array.from({ length: size }, (_, i) => lessonAt((step - 1) * size + i))
}

/** Rows are long enough to keep the machine busy, and never shorter than the longest sample. */
export function rowTokens(lessons: readonly Lesson[], recipe: SftRecipe): number {
  const longest = lessons.reduce((most, { tokens }) => Math.max(most, tokens.length), 0)
  return Math.max(longest, Math.min(1024, recipe.max_length))
}

/** Reads, renders and checks every sample. Throws AppError('data') when too many are bad or none is left. */
export function lessonsOf(file: string, recipe: SftRecipe, dialogue: Dialogue, warn: (text: string) => void): Lesson[] {
  const { samples, bad } = readMessages(readText(file), file)
  const lessons: Lesson[] = []
  const problems = bad.map((line) => badLineText(file, line))
  let long = 0
  for (const sample of samples) {
    const lesson = lessonOf(sample, recipe, dialogue)
    if (typeof lesson === 'string') problems.push(badLineText(file, { line: sample.line, why: lesson }))
    else if (lesson.tokens.length > recipe.max_length) {
      long++
      warn(
        `${file}:${sample.line}: left out whole: ${lesson.tokens.length} tokens exceed max_length ${recipe.max_length}`
      )
    } else lessons.push(lesson)
  }
  const badShare = problems.length / (samples.length + bad.length)
  for (const problem of problems.slice(0, 20)) warn(problem)
  if (badShare > recipe.max_bad_share) {
    throw new AppError(
      'data',
      `${problems.length} of ${samples.length + bad.length} samples are malformed, more than max_bad_share ${recipe.max_bad_share}; the first: ${problems[0]}`,
      'Mend them, or raise max_bad_share to leave them out.'
    )
  }
  if (lessons.length === 0)
    throw new AppError(
      'data',
      `${file}: no sample is left (${problems.length} malformed, ${long} too long)`,
      'Raise max_length or mend the file.'
    )
  return lessons
}

/** A sample as tokens, or why it cannot be taught: what the template makes of it must read back as the same trace. */
function lessonOf(sample: Sample, recipe: SftRecipe, dialogue: Dialogue): Lesson | string {
  const given = sample.messages.some(({ role }) => role === 'system')
  const system = given ? [] : [{ role: 'system', content: recipe.system_message ?? dialogue.systemMessage } as const]
  const messages = [...system.filter(({ content }) => content !== ''), ...sample.messages]
  try {
    const prompt = dialogue.promptTokens(messages)
    const response = dialogue.responseTokens(messages, sample.thinking, sample.answer)
    const read = dialogue.parse(response)
    if (read.kind === 'malformed') return `the chat template breaks the thought: ${read.why}`
    if (read.thinking !== sample.thinking.trim() || read.answer !== sample.answer.trim())
      return 'thought or answer do not survive the chat template'
    const tokens = Int32Array.from([...prompt, ...response])
    return { prompt, tokens, mask: new Uint8Array(tokens.length).fill(1, prompt.length) }
  } catch (error) {
    if (error instanceof AppError) throw error
    return (error as Error).message
  }
}

function readText(file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch (cause) {
    throw new AppError('data', `${file}: cannot be read`, 'Check the path in the recipe.', { cause })
  }
}
