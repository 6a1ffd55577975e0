/** Any file of `prompt` and `solution`; also `problem` or `question` with `answer`, as competition sets have it. */
import { readValue } from '../value.ts'
import { taskId } from './family.ts'
import { answerField, textField, type ReadRow } from './jsonl.ts'

export const readPromptSolution: ReadRow = (row, source) => {
  const prompt = textField(row, 'prompt') ?? textField(row, 'problem') ?? textField(row, 'question')
  const solution = textField(row, 'prompt') === null ? answerField(row, 'answer') : answerField(row, 'solution')
  if (prompt === null) return { why: 'no prompt' }
  if (solution === null) return { why: textField(row, 'prompt') === null ? 'no answer' : 'no solution' }
  const value = readValue(solution)
  if (value.kind === 'unreadable') return { why: `the solution cannot be read: ${value.why}` }
  return { task: { id: taskId(source, prompt), source, prompt, solution, check: { kind: 'equal' } } }
}
