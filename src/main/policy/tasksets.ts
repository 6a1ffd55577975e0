/** The tasks a recipe names: files and generated families, in the order given. */
import { readFileSync } from 'node:fs'
import { AppError } from '../../shared/errors.ts'
import type { TaskSource } from '../../shared/recipe.ts'
import type { Task } from '../../shared/task.ts'
import { taskMessages } from './dialogue.ts'
import type { Dialogue } from './dialogue.ts'
import { taskRows } from '../data/prepare/task-rows.ts'
import { generateTasks } from '../reasoning/tasks/index.ts'

/** Throws AppError('data') for an unreadable, malformed or empty source. */
export function loadTasks(sources: readonly TaskSource[]): Task[] {
  return sources.flatMap((source) => {
    if ('family' in source) return generateTasks(source)
    return taskRows(readText(source.file), source.file, source, source.format).map((row) => row.task)
  })
}

/** A task with its prompt as tokens. */
export type Prompted = { readonly task: Task; readonly prompt: Int32Array }

export type Prompting = {
  readonly dialogue: Dialogue
  readonly systemMessage: string
  readonly maxPromptTokens: number
  readonly warn: (text: string) => void
}

/** Tasks as this model is asked them. Prompts over the limit are left out and counted; AppError('data') when none is left. */
export function promptedTasks(name: string, tasks: readonly Task[], prompting: Prompting): Prompted[] {
  const { dialogue, systemMessage, maxPromptTokens, warn } = prompting
  const short = tasks
    .map((task) => ({ task, prompt: dialogue.promptTokens(taskMessages(task.prompt, systemMessage)) }))
    .filter(({ prompt }) => prompt.length <= maxPromptTokens)
  const left = tasks.length - short.length
  const why = `the prompt is longer than max_prompt_length ${maxPromptTokens}`
  if (left > 0) warn(`${name}: ${left} of ${tasks.length} tasks left out: ${why}`)
  if (short.length === 0)
    throw new AppError(
      'data',
      `${name}: no task is left to ask`,
      'Raise max_prompt_length or shorten the system message.'
    )
  return short
}

function readText(file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch (cause) {
    throw new AppError('data', `${file}: cannot be read`, 'Check the path in the recipe.', { cause })
  }
}
