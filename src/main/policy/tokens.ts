/** Rows of a dataset as a base's own tokens: how long they are, and which tokens are trained on. */
import { createReadStream } from 'node:fs'
import { createInterface } from 'node:readline'
import { AppError } from '../../shared/errors.ts'
import type { JobFunction } from '../../shared/worker-contract.ts'
import { readMessages } from '../data/prepare/messages.ts'
import { openBackend } from '../engine/backend.ts'
import { Held } from '../engine/ffi/owned.ts'
import { loadVocabulary } from '../engine/vocabulary-file.ts'
import { REASONING_SYSTEM_MESSAGE } from '../reasoning/prompts.ts'
import { readTasks } from '../reasoning/tasks/index.ts'
import { dialogueOf, taskMessages } from './dialogue.ts'
import type { Dialogue } from './dialogue.ts'

type Row = { readonly prompt: Int32Array; readonly response: Int32Array }

/** Result: `{ lengths, contextLength, failed, total }`, `total` being all rows of the file; or `{ tokens }` of one row. */
export const runTokens: JobFunction<'tokens'> = async ({ base, file, use, rows }, { signal }) => {
  const held = new Held()
  try {
    const backend = held.own(openBackend({ threads: 1 }))
    const { vocabulary, contextLength } = held.own(await loadVocabulary(base, backend))
    const dialogue = dialogueOf(vocabulary)
    const read = (line: string): Row => (use === 'traces' ? traceRow(line, dialogue) : taskRow(line, dialogue))
    if ('index' in rows) {
      for await (const { line, index } of linesOf(file)) {
        if (index !== rows.index) continue
        const { prompt, response } = read(line)
        const token = (trained: boolean) => (id: number) => ({ id, text: vocabulary.decode([id]), trained })
        return { tokens: [...Array.from(prompt, token(false)), ...Array.from(response, token(true))] }
      }
      throw new AppError('data', `${file} has no row ${rows.index}`)
    }
    const total = await countLines(file)
    const every = Math.max(1, Math.floor(total / rows.sample))
    const lengths: number[] = []
    let failed = 0
    for await (const { line, index } of linesOf(file)) {
      if (signal.aborted) throw new AppError('cancelled', 'stopped')
      if (index % every !== 0 || lengths.length >= rows.sample) continue
      try {
        const { prompt, response } = read(line)
        lengths.push(prompt.length + response.length)
      } catch (error) {
        if (error instanceof AppError && error.code === 'model') throw error
        failed++
      }
    }
    return { lengths, contextLength, failed, total }
  } finally {
    held.dispose()
  }
}

function traceRow(line: string, dialogue: Dialogue): Row {
  const { samples, bad } = readMessages(line, 'row')
  const sample = samples[0]
  if (sample === undefined) throw new AppError('data', bad[0]?.why ?? 'not a trace')
  const given = sample.messages.some(({ role }) => role === 'system')
  const messages = given
    ? sample.messages
    : [{ role: 'system', content: REASONING_SYSTEM_MESSAGE } as const, ...sample.messages]
  return {
    prompt: dialogue.promptTokens(messages),
    response: dialogue.responseTokens(messages, sample.thinking, sample.answer)
  }
}

/** A task is asked, not taught: nothing of it is trained on. */
function taskRow(line: string, dialogue: Dialogue): Row {
  const { rows, rejections } = readTasks(line, { source: 'row', format: 'auto' })
  const row = rows[0]
  if (row === undefined) throw new AppError('data', rejections[0]?.why ?? 'not a task')
  const prompt = dialogue.promptTokens(taskMessages(row.task.prompt, REASONING_SYSTEM_MESSAGE))
  return { prompt, response: new Int32Array() }
}

async function* linesOf(file: string): AsyncGenerator<{ line: string; index: number }> {
  let index = 0
  for await (const line of createInterface({ input: createReadStream(file, 'utf8'), crlfDelay: Infinity })) {
    if (line.trim() !== '') yield { line, index: index++ }
  }
}

async function countLines(file: string): Promise<number> {
  let count = 0
  for await (const _ of linesOf(file)) count++
  return count
}
