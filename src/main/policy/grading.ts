/** From a rollout to a verdict: parse, extract, compare. Only the text after the thought is graded. */
import type { Rollout, Task, Verdict } from '../../shared/task.ts'
import { extractAnswer } from '../reasoning/answer.ts'
import type { Symbolic } from '../reasoning/equality.ts'
import type { ParsedTrace } from '../reasoning/trace.ts'
import { judge, judgeWith } from '../reasoning/verdict.ts'
import type { Dialogue } from './dialogue.ts'

export type Graded = {
  readonly rollout: Rollout
  readonly trace: ParsedTrace
  readonly verdict: Verdict
  readonly answer: string | null
}

export type GradingOptions = {
  /** Also accept a number inside a sentence: for bases that were never taught the answer form. */
  readonly lenient?: boolean
  /** Decides pairs that neither text nor numbers decide, such as √12 and 2√3; left out, they count as unreadable. */
  readonly symbolic?: Symbolic
}

export async function grade(
  task: Task,
  rollout: Rollout,
  dialogue: Dialogue,
  options: GradingOptions = {}
): Promise<Graded> {
  const { symbolic, ...rest } = options
  const trace = dialogue.parse(rollout.tokens)
  const verdict = symbolic ? await judgeWith(task, trace.answer, symbolic, rest) : judge(task, trace.answer, rest)
  const extraction = extractAnswer(trace.answer, rest)
  return { rollout, trace, verdict, answer: extraction.kind === 'answer' ? extraction.raw : null }
}
