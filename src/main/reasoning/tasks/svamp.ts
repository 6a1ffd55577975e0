/** SVAMP: `Body`, `Question`, `Answer`. */
import { readValue } from '../value.ts'
import { taskId } from './family.ts'
import { answerField, textField, type ReadRow } from './jsonl.ts'

export const readSvamp: ReadRow = (row, source) => {
  const [body, question, solution] = [textField(row, 'Body'), textField(row, 'Question'), answerField(row, 'Answer')]
  if (body === null || question === null) return { why: 'no Body or no Question' }
  if (solution === null || readValue(solution).kind !== 'number') return { why: 'Answer is not a number' }
  const prompt = `${/[.!?,;:]$/.test(body) ? body : `${body}.`} ${question}`
  return { task: { id: taskId(source, prompt), source, prompt, solution, check: { kind: 'equal' } } }
}
