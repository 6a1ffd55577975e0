/**
 * What a run reports, as it happens. One line of `events.jsonl` each; TensorBoard scalars, progress bars and pages are
 * derived from these. Metric names are TRL's (https://huggingface.co/docs/trl, `grpo_trainer`, `sft_trainer`).
 */
export type Metrics = Readonly<Record<string, number>>

export type RunEvent =
  | { readonly kind: 'phase'; readonly name: string }
  | { readonly kind: 'log'; readonly level: 'info' | 'warn' | 'error'; readonly text: string }
  | { readonly kind: 'plan'; readonly lines: readonly string[] }
  | { readonly kind: 'step'; readonly step: number; readonly of: number; readonly metrics: Metrics }
  | { readonly kind: 'evaluation'; readonly step: number; readonly metrics: Metrics }
  | { readonly kind: 'checkpoint'; readonly step: number; readonly path: string }
  /** Momentary: progress inside a step or a long job. Never written to disk. */
  | {
      readonly kind: 'progress'
      readonly label: string
      readonly done: number
      readonly of: number
      readonly note?: string
    }
  /** Momentary: text as it is sampled, for a person who watches one answer. Never written to disk. */
  | { readonly kind: 'text'; readonly part: 'thinking' | 'answer'; readonly text: string }
  /** Momentary: how one of several answers goes on, in the playground. `end` comes with its last. */
  | {
      readonly kind: 'answering'
      readonly id: string
      readonly state: 'loading' | 'thinking' | 'answering'
      readonly text: string
      readonly tokens: number
      readonly end?: {
        readonly stop: string
        readonly tokensPerSecond: number | null
        readonly problem: string | null
      }
    }
  | { readonly kind: 'sample'; readonly step: number; readonly rows: readonly SampleRow[] }
  | { readonly kind: 'end'; readonly how: 'done' | 'stopped' | 'cancelled' | 'failed'; readonly reason: string }

/** One rollout as a person reads it: what the group explorer and the report show. */
export type SampleRow = {
  readonly taskId: string
  readonly prompt: string
  readonly thinking: string | null
  readonly answer: string | null
  readonly text: string
  readonly verdict: string
  readonly stop: string
  readonly length: number
  /** Each component's own score, before its weight. */
  readonly rewards: Readonly<Record<string, number>>
  /** The weight of each component: the sum of component times weight is `reward`. Records of older versions lack it. */
  readonly weights?: Readonly<Record<string, number>>
  readonly reward: number
  readonly advantage: number
  /** The sampled tokens as text, with log p(token) of each at temperature 1. Only some rollouts carry them. */
  readonly tokens?: readonly string[]
  readonly logprobs?: readonly number[]
}

export type Emit = (event: RunEvent) => void
