/**
 * The graded answers of an evaluation, in a fixed order: policy by policy, taskset by taskset, run by run. They are sampled
 * in blocks, and `answers.jsonl` grows by whole blocks, so that a resumed evaluation samples exactly the blocks that an
 * uninterrupted one would.
 */
import { appendFileSync, existsSync, rmSync, truncateSync } from 'node:fs'
import type { StopReason, Verdict } from '../../shared/task.ts'
import type { Prompted } from '../policy/tasksets.ts'
import type { ThinkTags } from '../reasoning/trace.ts'
import { fullLines } from './json-lines.ts'

/** One line of `answers.jsonl`. */
export type Answer = {
  readonly policy: string
  readonly taskset: string
  /** From 0. */
  readonly run: number
  readonly taskId: string
  readonly verdict: Verdict['kind']
  /** Why it is unreadable. */
  readonly why?: string
  /** The extracted answer in its normal form. */
  readonly answer: string | null
  /** Tokens, the end-of-turn token included. */
  readonly length: number
  readonly stop: StopReason
  /** The whole message: what was sampled, after the opening tag where the prompt ended with it; no end-of-turn token. */
  readonly text: string
  /** How thoughts are marked in it, where the base spells them in its own way. */
  readonly tags?: ThinkTags
}

export type Policy = { readonly name: string }
export type Taskset = { readonly name: string; readonly questions: readonly Prompted[] }

/** Answers that are sampled and kept together; all by one policy on one taskset. */
export type Block = {
  readonly policy: Policy
  readonly taskset: Taskset
  /** How many answers of this policy on this taskset come before. */
  readonly from: number
  readonly asked: readonly { readonly run: number; readonly question: Prompted }[]
}

/** The blocks of an evaluation, at most `size` answers each. */
export function blocksOf(
  policies: readonly Policy[],
  tasksets: readonly Taskset[],
  runs: number,
  size: number
): readonly Block[] {
  return policies.flatMap((policy) =>
    tasksets.flatMap((taskset) => {
      const all = Array.from({ length: runs }, (_, run) =>
        taskset.questions.map((question) => ({ run, question }))
      ).flat()
      return Array.from({ length: Math.ceil(all.length / size) }, (_, i) => {
        return { policy, taskset, from: i * size, asked: all.slice(i * size, (i + 1) * size) }
      })
    })
  )
}

/** The answers at the head of `answers.jsonl` that fill whole blocks of this plan; what follows them is cut off the file. */
export function keptAnswers(path: string, blocks: readonly Block[]): Answer[] {
  const lines = fullLines(path)
  const kept: Answer[] = []
  let bytes = 0
  for (const block of blocks) {
    const part = lines.slice(kept.length, kept.length + block.asked.length).map(({ text }) => answerOf(text))
    const whole =
      part.length === block.asked.length && part.every((answer, i) => answer && isAnswerTo(answer, block, i))
    if (!whole) break
    kept.push(...(part as Answer[]))
    bytes = lines[kept.length - 1]!.end
  }
  if (existsSync(path)) truncateSync(path, bytes)
  return kept
}

export const appendAnswers = (path: string, answers: readonly Answer[]): void =>
  appendFileSync(path, answers.map((answer) => JSON.stringify(answer) + '\n').join(''), { flush: true })

export const forgetAnswers = (path: string): void => rmSync(path, { force: true })

/** Every answer of a finished evaluation's file. */
export const readAnswers = (path: string): Answer[] => fullLines(path).flatMap(({ text }) => answerOf(text) ?? [])

function isAnswerTo(answer: Answer, { policy, taskset, asked }: Block, i: number): boolean {
  const { run, question } = asked[i]!
  return (
    answer.policy === policy.name &&
    answer.taskset === taskset.name &&
    answer.run === run &&
    answer.taskId === question.task.id
  )
}

function answerOf(line: string): Answer | null {
  try {
    return JSON.parse(line) as Answer
  } catch {
    return null // a line that a crash damaged is no answer
  }
}
