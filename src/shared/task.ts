/** The records that reasoning, training and evaluation speak in. Plain data, named once, used everywhere. */

/** A prompt plus what is needed to grade an answer. `id` is stable: family, seed and index, or a content hash. */
export type Task = {
  readonly id: string
  /** The family or file the task came from, e.g. `arithmetic`, `gsm8k`. */
  readonly source: string
  /** What the user says. */
  readonly prompt: string
  /** The reference answer in plain text, e.g. `42`, `3/4`, `12 * (3 + 4)`. */
  readonly solution: string
  /** How an answer is compared with `solution`: equality of values, or a checker of a generated family by its name. */
  readonly check:
    { readonly kind: 'equal' } | { readonly kind: 'family'; readonly family: string; readonly data: unknown }
  /** Generated families only: the difficulty parameter it was made with. */
  readonly difficulty?: number
}

/** A thought and an answer, as written by a teacher or by a student. */
export type Trace = { readonly thinking: string; readonly answer: string }

export type Verdict =
  { readonly kind: 'correct' } | { readonly kind: 'wrong' } | { readonly kind: 'unreadable'; readonly why: string }

/** Why generation ended: an end-of-turn token, the response limit, or the user. */
export type StopReason = 'eos' | 'length' | 'cancelled'

/**
 * One sampled trace. Arrays run over the sampled tokens (the end-of-turn token included), not over the prompt; logprobs are
 * natural logarithms.
 */
export type Rollout = {
  readonly tokens: Int32Array
  /** log p(token) under the distribution it was drawn from: temperature, then filters, renormalised. Greedy: 0. */
  readonly samplingLogprobs: Float32Array
  /** log p(token) under the sampling temperature before filters: the policy as GRPO trains it (as TRL). */
  readonly logprobs: Float32Array
  /** log p(token) under temperature 1 before filters: the model itself. The same array where the temperature is 1. */
  readonly temperatureOneLogprobs: Float32Array
  readonly stop: StopReason
}
