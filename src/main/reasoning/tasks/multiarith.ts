/** MultiArith: `input`, `target`. */
import { readValue } from '../value.ts'
import { taskId } from './family.ts'
import { answerField, textField, type ReadRow } from './jsonl.ts'

export const readMultiArith: ReadRow = (row, source) => {
  const [prompt, solution] = [textField(row, 'input'), answerField(row, 'target')]
  if (prompt === null) return { why: 'no input' }
  if (solution === null || readValue(solution).kind !== 'number') return { why: 'target is not a number' }
  return { task: { id: taskId(source, prompt), source, prompt, solution, check: { kind: 'equal' } } }
}
