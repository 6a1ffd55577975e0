/** The playground: policies answer a prompt while you watch; saved traces; the reward of a completion, taken apart. */
import { z } from 'zod'
import { AnsweringSettings, RewardSettings } from '../recipe.ts'
import type { Task } from '../task.ts'
import { call, Follow, HostPath, RunId, Time } from './call.ts'

export const Policy = z.object({ name: z.string(), base: HostPath, adapter: HostPath.nullable() })
export const Turn = z.object({ role: z.enum(['system', 'user', 'assistant']), content: z.string() })
const AnswerId = z.string().min(1)

/** How an answer stands. Text grows; `cursor` counts characters of thinking + answer that were delivered. */
export const AnswerChunk = z.object({
  thinking: z.string(),
  answer: z.string(),
  cursor: z.number().int(),
  state: z.enum(['waiting', 'loading', 'thinking', 'answering', 'done', 'stopped', 'failed']),
  tokens: z.number().int(),
  tokensPerSecond: z.number().nullable(),
  stop: z.string().nullable(),
  problem: z.string().nullable()
})
export type AnswerChunk = z.infer<typeof AnswerChunk>

export const SavedTrace = z.object({
  id: z.string(),
  title: z.string(),
  createdAt: Time,
  prompt: z.string(),
  answers: z.array(
    z.object({
      policy: z.string(),
      thinking: z.string(),
      answer: z.string(),
      tokens: z.number().int(),
      stop: z.string().nullable()
    })
  )
})
export type SavedTrace = z.infer<typeof SavedTrace>

/** A reward taken apart: what was read, how equality was decided, each component with its formula and numbers. */
export const RewardExplanation = z.object({
  thinking: z.string().nullable(),
  answer: z.string().nullable(),
  malformed: z.string().nullable(),
  extracted: z.object({ value: z.string().nullable(), by: z.string() }),
  equality: z.array(z.object({ step: z.string(), left: z.string(), right: z.string(), outcome: z.string() })),
  verdict: z.string(),
  lengthTokens: z.number().int(),
  components: z.array(
    z.object({ name: z.string(), formula: z.string(), numbers: z.string(), score: z.number(), weight: z.number() })
  ),
  reward: z.number(),
  override: z.string().nullable(),
  /** Accuracy reward by length, for a right and a wrong answer, under the same settings. */
  curve: z.object({ length: z.array(z.number()), correct: z.array(z.number()), wrong: z.array(z.number()) })
})
export type RewardExplanation = z.infer<typeof RewardExplanation>

/** How an answer is compared with the right one: by value, or by the rule of a generated family. */
const Check = z.union([
  z.strictObject({ kind: z.literal('equal') }),
  z.strictObject({ kind: z.literal('family'), family: z.string(), data: z.unknown() })
]) satisfies z.ZodType<Task['check']>

/** A rollout that a run recorded, with what it was graded by and the rewards of its group. */
export const RecordedRollout = z.object({
  prompt: z.string(),
  completion: z.string(),
  /** null where the run's task files are gone. */
  solution: z.string().nullable(),
  check: Check,
  length: z.number().int(),
  ended: z.boolean(),
  /** As they were sampled, where the record has them. */
  tokens: z.array(z.string()).nullable(),
  max_completion_length: z.number().int(),
  reward: RewardSettings,
  /** The reward the run gave it. */
  recorded: z.number(),
  group: z.object({ rewards: z.array(z.number()), place: z.number().int(), scale_rewards: z.enum(['group', 'none']) })
})
export type RecordedRollout = z.infer<typeof RecordedRollout>

export const play = {
  /** Asks one policy; several at once answer side by side as the machine allows. `continueFrom` goes on with a cut answer. */
  ask: call
    .input(
      z.strictObject({
        policy: Policy,
        turns: z.array(Turn).min(1),
        sampling: AnsweringSettings.prefault({}),
        max_completion_length: z.number().int().positive().max(131_072).default(1024),
        seed: z.number().int().default(0)
      })
    )
    .output(z.object({ id: AnswerId })),
  follow: call
    .input(z.strictObject({ id: AnswerId, after: z.number().int().nonnegative(), ...Follow }))
    .output(AnswerChunk),
  stop: call.input(z.strictObject({ id: AnswerId })).output(z.object({})),
  save: call.input(SavedTrace.omit({ id: true, createdAt: true })).output(SavedTrace),
  saved: call.input(z.strictObject({ search: z.string().default('') })).output(z.array(SavedTrace)),
  remove: call.input(z.strictObject({ id: z.string() })).output(z.object({})),
  undoRemove: call.input(z.strictObject({ id: z.string() })).output(z.object({})),
  /** A saved trace as one self-contained HTML file. */
  exportHtml: call.input(z.strictObject({ id: z.string() })).output(z.object({ name: z.string(), html: z.string() })),
  /** By its place among the groups that `runs.samples` answers with. */
  rollout: call
    .input(
      z.strictObject({
        run: RunId,
        step: z.number().int(),
        group: z.number().int().nonnegative(),
        row: z.number().int().nonnegative()
      })
    )
    .output(RecordedRollout),
  explainReward: call
    .input(
      z.strictObject({
        completion: z.string(),
        solution: z.string(),
        check: Check.default({ kind: 'equal' }),
        /** What repetition is counted over; default: words and signs. */
        tokens: z.array(z.string()).max(200_000).optional(),
        /** Tokens; default: counted in words and signs, and said so. */
        lengthTokens: z.number().int().nonnegative().optional(),
        max_completion_length: z.number().int().positive().default(512),
        ended: z.boolean().default(true),
        reward: RewardSettings.prefault({}),
        openThink: z.string().default('<think>'),
        closeThink: z.string().default('</think>')
      })
    )
    .output(RewardExplanation),
  /** Advantages of one group's rewards, as GRPO would compute them. */
  advantages: call
    .input(
      z.strictObject({
        rewards: z.array(z.number()).min(1).max(256),
        scale_rewards: z.enum(['group', 'none']).default('group')
      })
    )
    .output(z.object({ mean: z.number(), std: z.number(), advantages: z.array(z.number()), note: z.string() }))
}
