/** From a task and the text of an answer to a verdict, with everything that led there. */
import type { Task, Verdict } from '../../shared/task.ts'
import { extractAnswer, type Extraction } from './answer.ts'
import { compareAnswers, compareAnswersWith, type Comparison, type Symbolic } from './equality.ts'
import { familyOf } from './tasks/index.ts'

export type Judgement = {
  readonly verdict: Verdict
  /** What was found in the text, and by which rule. */
  readonly extraction: Extraction
  /** The steps of the cascade; null where a family's own checker decided, or nothing was found. */
  readonly comparison: Comparison | null
}

export type JudgeOptions = {
  /** Take the last number of a text that has no marked answer: for bases that were never taught the form. */
  readonly lenient?: boolean
}

const verdictOf = (comparison: Comparison): Verdict => {
  if (comparison.outcome === 'equal') return { kind: 'correct' }
  if (comparison.outcome === 'different') return { kind: 'wrong' }
  return { kind: 'unreadable', why: `undecided: ${comparison.steps.at(-1)!.because}` }
}

/** Without the symbolic step: families, numbers, text, lists. `undecided` pairs are unreadable. */
export function explainJudgement(task: Task, answerText: string, options: JudgeOptions = {}): Judgement {
  const extraction = extractAnswer(answerText, options)
  if (task.check.kind === 'family') {
    return { verdict: familyOf(task.check.family).check(task, answerText), extraction, comparison: null }
  }
  if (extraction.kind === 'unreadable') return { verdict: extraction, extraction, comparison: null }
  const comparison = compareAnswers(task.solution, extraction.value)
  return { verdict: verdictOf(comparison), extraction, comparison }
}

/** The whole cascade; `symbolic` is asked only where nothing else decides. */
export async function explainJudgementWith(
  task: Task,
  answerText: string,
  symbolic: Symbolic,
  options: JudgeOptions = {}
): Promise<Judgement> {
  const quick = explainJudgement(task, answerText, options)
  if (quick.comparison?.outcome !== 'undecided' || quick.extraction.kind !== 'answer') return quick
  const comparison = await compareAnswersWith(task.solution, quick.extraction.value, symbolic)
  return { ...quick, verdict: verdictOf(comparison), comparison }
}

/** The verdict on an answer text (what follows the thought), synchronously: what GRPO rewards by. */
export const judge = (task: Task, answerText: string, options?: JudgeOptions): Verdict =>
  explainJudgement(task, answerText, options).verdict

/** The verdict with the symbolic step. */
export const judgeWith = async (
  task: Task,
  answerText: string,
  symbolic: Symbolic,
  options?: JudgeOptions
): Promise<Verdict> => (await explainJudgementWith(task, answerText, symbolic, options)).verdict
