/** What a report is made of: plain records, no files, no clock. `summary.ts` derives the numbers, `html.ts` and `markdown.ts` write. */
import type { StopReason, Verdict } from '../../../shared/task.ts'

export type ReportData = {
  readonly title: string
  /** Sentences under the title, as the author of the run wants them. */
  readonly notes?: readonly string[]
  /** When the numbers were made, ISO 8601. */
  readonly date: string
  /** The command that makes these numbers again. */
  readonly command: string
  /** With what was trained: an adapter, or a whole model. In the order of training; tests compare neighbours, and the last with the first. */
  readonly stages: readonly { readonly name: string; readonly adapter?: string; readonly model?: string }[]
  readonly results: readonly StageResult[]
  readonly curves: readonly Curve[]
  readonly traces: readonly TraceComparison[]
  /** Every setting of every step, as YAML text. */
  readonly settings: readonly { readonly name: string; readonly yaml: string }[]
  readonly seeds: Readonly<Record<string, number | string>>
  /** Machine and library versions, label to value. */
  readonly environment: Readonly<Record<string, string>>
}

/** One stage on one taskset. Stages list the same tasks in the same order, so that they can be paired. */
export type StageResult = {
  readonly stage: string
  readonly taskset: string
  readonly items: readonly { readonly taskId: string; readonly runs: readonly RunResult[] }[]
}

/** One answer to one task. */
export type RunResult = {
  readonly correct: boolean
  /** Completion tokens, the end-of-turn token included. */
  readonly length: number
  readonly stop: StopReason
  readonly verdict: Verdict['kind']
  /** The extracted answer in its normal form, null where there is none: for the majority vote. Left out: no vote. */
  readonly answer?: string | null
}

/** A number over the optimizer steps of a stage. `name` is a metric name (TRL's where it has one); see `curves.ts`. */
export type Curve = {
  readonly stage: string
  readonly name: string
  /** `share` is 0…1 and shown in percent. Left out: that of the chart it falls into. */
  readonly unit?: string
  readonly points: readonly (readonly [step: number, value: number])[]
  /** An interval around the curve. */
  readonly band?: readonly (readonly [step: number, low: number, high: number])[]
}

/** What each stage wrote for one task. */
export type TraceComparison = {
  readonly taskId: string
  readonly taskset?: string
  readonly prompt: string
  readonly solution: string
  readonly stages: readonly {
    readonly stage: string
    /** null: the text could not be taken apart, then `text` is shown. */
    readonly thinking: string | null
    readonly answer: string | null
    readonly text?: string
    readonly verdict: string
    readonly stop: StopReason
    readonly length: number
  }[]
}
