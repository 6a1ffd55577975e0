/** GSM8K: `question`, and `answer` with a worked solution that ends in `#### N` and marks its sums as `<<16-3-4=9>>`. */
import type { Trace } from '../../../shared/task.ts'
import { readValue } from '../value.ts'
import { taskId } from './family.ts'
import { textField, type ReadRow } from './jsonl.ts'

/** The worked solution as a trace: the marks taken out, the thought its lines, the answer a boxed number. */
export function gsm8kTrace(answer: string): Trace | null {
  const [worked = '', final] = answer.split(/^\s*####\s*/m)
  const thinking = worked
    .replace(/<<[^<>]*>>/g, '')
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '')
    .join('\n')
  const number = final?.trim().replace(/,/g, '')
  return thinking === '' || !number ? null : { thinking, answer: `The answer is \\boxed{${number}}.` }
}

export const readGsm8k: ReadRow = (row, source) => {
  const question = textField(row, 'question')
  const answer = textField(row, 'answer')
  if (question === null) return { why: 'no question' }
  if (answer === null) return { why: 'no answer' }
  const solution = /^\s*####\s*(.+)$/m.exec(answer)?.[1]?.trim().replace(/,/g, '')
  if (solution === undefined) return { why: 'the answer has no line `#### N`' }
  if (readValue(solution).kind !== 'number') return { why: `${JSON.stringify(solution)} is not a number` }
  const worked = gsm8kTrace(answer)
  const task = { id: taskId(source, question), source, prompt: question, solution, check: { kind: 'equal' } } as const
  return worked === null ? { task } : { task, worked }
}
