/** From a rollout to a verdict: parse, extract, compare. Only the text after the thought is graded. */
import type { Rollout, Task, Verdict } from '../../shared/task.ts'
import { extractAnswer } from '../reasoning/answer.ts'
import type { ParsedTrace } from '../reasoning/trace.ts'
import { judge } from '../reasoning/verdict.ts'
import type { Dialogue } from './dialogue.ts'

export type Graded = {
  readonly rollout: Rollout
  readonly trace: ParsedTrace
  readonly verdict: Verdict
  readonly answer: string | null
}

/** `lenient` also accepts a number inside a sentence: for bases that were never taught the answer form. */
export function grade(task: Task, rollout: Rollout, dialogue: Dialogue, options: { lenient?: boolean } = {}): Graded {
  const trace = dialogue.parse(rollout.tokens)
  const verdict = judge(task, trace.answer, options)
  const extraction = extractAnswer(trace.answer, options)
  return { rollout, trace, verdict, answer: extraction.kind === 'answer' ? extraction.raw : null }
}
