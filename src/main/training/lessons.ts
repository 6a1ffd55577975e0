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
import { LEFT_OUT_FILE } from './left-out.ts'
import type { LeftOut } from './left-out.ts'
import { repeated } from './rehearsal.ts'
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

/**
 * As many tokens as the longest row can have, those of the longest sample: a row of a batch, which may hold one sample more
 * than once, or of the held-out samples, which are always packed.
 */
export function longestRow(lessons: readonly Lesson[], heldOut: readonly Lesson[], recipe: SftRecipe): Int32Array {
  const [longest] = lessons.map(({ tokens }) => tokens).sort((a, b) => b.length - a.length)
  const [longestHeldOut] = heldOut.map(({ tokens }) => tokens).sort((a, b) => b.length - a.length)
  const inBatch = recipe.packing
    ? Math.min(rowTokens(lessons, recipe), recipe.train_batch_size * longest!.length)
    : longest!.length
  const allHeldOut = heldOut.reduce((sum, { tokens }) => sum + tokens.length, 0)
  const inHeldOut = Math.min(rowTokens(heldOut, recipe), allHeldOut)
  const source = longestHeldOut && longestHeldOut.length > longest!.length ? longestHeldOut : longest!
  return repeated(source, Math.max(inBatch, inHeldOut))
}

export type ReadLessons = {
  readonly file: string
  readonly lessons: readonly Lesson[]
  /** In the order of the file. */
  readonly leftOut: readonly LeftOut[]
}

/** Reads, renders and checks every sample. Throws AppError('data') for a file that cannot be read or is empty. */
export function readLessons(file: string, recipe: SftRecipe, dialogue: Dialogue): ReadLessons {
  const { samples, bad } = readMessages(readText(file), file)
  const lessons: Lesson[] = []
  const leftOut: LeftOut[] = bad.map(({ line, why }) => ({ file, line, reason: why }))
  for (const { line, ...sample } of samples) {
    const lesson = lessonOf({ line, ...sample }, recipe, dialogue)
    if (typeof lesson === 'string') leftOut.push({ file, line, reason: lesson })
    else if (lesson.tokens.length > recipe.max_length)
      leftOut.push({ file, line, tokens: lesson.tokens.length, reason: `longer than max_length ${recipe.max_length}` })
    else lessons.push(lesson)
  }
  return { file, lessons, leftOut: leftOut.sort((a, b) => a.line - b.line) }
}

/** What there is to learn from. Throws AppError('data') when too many samples are malformed or none is left. */
export function requireLessons({ file, lessons, leftOut }: ReadLessons, recipe: SftRecipe): readonly Lesson[] {
  const malformed = leftOut.filter(({ tokens }) => tokens === undefined)
  const of = lessons.length + leftOut.length
  if (malformed.length / of > recipe.max_bad_share) {
    const { line, reason } = malformed[0]!
    throw new AppError(
      'data',
      `${malformed.length} of ${of} samples are malformed, more than max_bad_share ${recipe.max_bad_share}; the first: ${badLineText(file, { line, why: reason })}`,
      `Mend them (all are listed in ${LEFT_OUT_FILE} of the run), or raise max_bad_share to leave them out.`
    )
  }
  if (lessons.length === 0)
    throw new AppError(
      'data',
      `${file}: no sample is left (${malformed.length} malformed, ${leftOut.length - malformed.length} too long)`,
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
    // A template that refuses these messages says so of this sample; a base without one can be taught nothing.
    if (error instanceof AppError && !dialogue.vocabulary.hasChatTemplate) throw error
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
