/** Evaluations as a person reads them: distributions, items, disputed verdicts. */
import { z } from 'zod'
import { call, RunId, Slice } from './call.ts'

export const VerdictKind = z.enum(['correct', 'wrong', 'unreadable'])

export const PolicyScore = z.object({
  policy: z.string(),
  taskset: z.string(),
  tasks: z.number().int(),
  runs: z.number().int(),
  /** One per run. */
  accuracyByRun: z.array(z.number()),
  accuracy: z.number(),
  low: z.number(),
  high: z.number(),
  /** Of k answers of one task: any right, the most frequent right, the mean. k = runs. */
  bestOfK: z.number(),
  majorityOfK: z.number(),
  meanLength: z.number(),
  clippedShare: z.number(),
  unreadableShare: z.number()
})
export type PolicyScore = z.infer<typeof PolicyScore>

/** Two policies on the tasks both answered. */
export const PairedTest = z.object({
  taskset: z.string(),
  a: z.string(),
  b: z.string(),
  /** Accuracy of b minus that of a, and its 95 % interval, 0 to 1. */
  difference: z.number(),
  low: z.number(),
  high: z.number(),
  p: z.number(),
  /** What the test says, at 5 % false alarms: its p decides, here and in reports; an interval of few tasks is too narrow. */
  distinguishable: z.boolean(),
  /** In words, for a person. */
  verdict: z.string()
})
export type PairedTest = z.infer<typeof PairedTest>

export const EvaluatedItem = z.object({
  taskset: z.string(),
  taskId: z.string(),
  prompt: z.string().nullable(),
  solution: z.string().nullable(),
  /** By policy, in the order of `scores`' policies. */
  passRate: z.array(z.object({ policy: z.string(), passed: z.number().int(), of: z.number().int() }))
})
export type EvaluatedItem = z.infer<typeof EvaluatedItem>

export const GradedAnswer = z.object({
  policy: z.string(),
  run: z.number().int(),
  text: z.string(),
  thinking: z.string().nullable(),
  answer: z.string().nullable(),
  verdict: VerdictKind,
  why: z.string().nullable(),
  judgedByHand: VerdictKind.nullable(),
  length: z.number().int(),
  stop: z.string()
})
export type GradedAnswer = z.infer<typeof GradedAnswer>

export const evaluation = {
  scores: call.input(z.strictObject({ id: RunId })).output(
    z.object({
      scores: z.array(PolicyScore),
      tests: z.array(PairedTest),
      /** One point per answer: length and verdict; thinned to 5,000. */
      lengths: z.array(z.object({ policy: z.string(), length: z.number().int(), verdict: VerdictKind })),
      handJudged: z.number().int()
    })
  ),
  items: call
    .input(
      z.strictObject({
        id: RunId,
        taskset: z.string().optional(),
        ...Slice.shape,
        order: z.enum(['task', 'hardest', 'disputed']).default('task')
      })
    )
    .output(z.object({ rows: z.array(EvaluatedItem), total: z.number().int() })),
  answers: call
    .input(z.strictObject({ id: RunId, taskset: z.string(), taskId: z.string() }))
    .output(z.array(GradedAnswer)),
  /** A person's own verdict on an answer; null takes it back. Scores then use it and say so. */
  judge: call
    .input(
      z.strictObject({
        id: RunId,
        taskset: z.string(),
        taskId: z.string(),
        policy: z.string(),
        run: z.number().int(),
        verdict: VerdictKind.nullable()
      })
    )
    .output(GradedAnswer)
}
