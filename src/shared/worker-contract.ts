/**
 * What the host and a worker say to each other over the child's IPC channel: one job in, batches of events out, one
 * result or one error at the end. JSON is the law of the wire: no typed arrays, no NaN, no undefined that matters.
 */
import { z } from 'zod'
import { EXIT_CODES } from './errors.ts'
import type { ErrorCode } from './errors.ts'
import type { RunEvent } from './event.ts'
import { MERGE_TYPES, QUANTIZATIONS } from './export-types.ts'
import { AnsweringSettings, Device, EvaluateRecipe, GrpoRecipe, Recipe, SftRecipe } from './recipe.ts'

const path = z.string().min(1)
const seed = z.number().int().default(0)
const threads = z.number().int().positive().optional()
/** `resume` continues from the last checkpoint in `runDir`, where there is one. */
const resume = z.boolean().default(false)

/** The input of every kind of job, already checked by the host and checked again by the worker. */
export const JOB_INPUTS = {
  sft: z.strictObject({ recipe: SftRecipe, resume }),
  grpo: z.strictObject({ recipe: GrpoRecipe, resume }),
  evaluate: z.strictObject({ recipe: EvaluateRecipe, resume }),
  /** One streamed answer: `text` events as it is sampled. */
  sample: z.strictObject({
    model: path,
    adapter: path.optional(),
    prompt: z.string().min(1),
    system_message: z.string().optional(),
    max_completion_length: z.number().int().positive().default(1024),
    sampling: AnsweringSettings.prefault({}),
    seed,
    device: Device,
    threads
  }),
  /** A base of its own for reasoning: think tokens, a longer context, the fixed system message; see `training/prepare.ts`. */
  prepare: z.strictObject({
    base: path,
    to: path,
    /** The spelling of the two think tokens, true for the usual one; left out, the base gets none. */
    think: z.union([z.literal(true), z.tuple([z.string().min(1), z.string().min(1)])]).optional(),
    /** Texts whose tokens the new rows start near. */
    like: z.tuple([z.string().min(1), z.string().min(1)]).default(['think', 'answer']),
    context: z.number().int().positive().optional(),
    rope_factor: z.number().positive().optional(),
    /** '' puts none into the chat template. */
    system_message: z.string().optional(),
    /** Every weight in F32, as `finetuning_type: full` needs it. */
    f32: z.boolean().default(false),
    /** A file whose text the perplexity is taken of, instead of the built-in one. */
    text: path.optional(),
    force: z.boolean().default(false),
    threads
  }),
  /** `auto` reports on every device; another is tried, and the job fails when it cannot be used. */
  doctor: z.strictObject({ device: Device, threads }),
  /** The whole recipe on the bundled base; the same folder again continues where it stopped. */
  demo: z.strictObject({ short: z.boolean().default(false), seed, device: Device, threads }),
  /** Writes `report.md` and `report.html` into the run's folder. */
  report: z.strictObject({}),
  /**
   * What a run trained into `to`: a whole model, or the adapter as GGUF and in PEFT's format; with `merge` also base and
   * adapter in one GGUF (`auto`: BF16 of a BF16 base, else F16), or the whole model in that type; with `quantize` quantised.
   * `scores`: the folder of an evaluation for the card. `adapter`: a file of the run's folder, an adapter or a model, that is
   * handed over instead of what the run ended with.
   */
  export: z.strictObject({
    to: path,
    merge: z.enum(['auto', ...MERGE_TYPES]).optional(),
    quantize: z.array(z.enum(QUANTIZATIONS)).default([]),
    scores: path.optional(),
    adapter: path.optional()
  }),
  /** A PEFT folder or a GGUF adapter as a checked GGUF adapter for this base. */
  import: z.strictObject({ adapter: path, base: path, to: path, threads }),
  /** Holds a base loaded and answers what it is asked while it runs, one answer after another: `PlayAsk`, `PlayStop`. */
  play: z.strictObject({ device: Device, threads }),
  /** Rows of a JSONL as tokens of a base: the lengths of some, or one row with its trained tokens marked. */
  tokens: z.strictObject({
    base: path,
    file: path,
    use: z.enum(['traces', 'tasks']),
    /** Lines of the file, from 0: one row in full, or the lengths of these. */
    rows: z.union([
      z.strictObject({ index: z.number().int().nonnegative() }),
      z.strictObject({ sample: z.number().int().positive() })
    ])
  }),
  /** The memory plan of a recipe, without loading its base. */
  plan: z.strictObject({ recipe: Recipe }),
  /** Stays and answers short jobs, one after another, so that each does not wait for a process of its own: `Question`. */
  questions: z.strictObject({}),
  /** One file (or one split model) by its address or Hugging Face name into a folder. */
  download: z.strictObject({ from: z.string().min(1), to: path })
} as const

/** What the playground's worker is told: an answer to give, or one to end. */
export type PlayAsk = {
  readonly k: 'ask'
  readonly id: string
  readonly base: string
  readonly adapter: string | null
  /** The last turn may be the assistant's: it is continued. */
  readonly turns: readonly { readonly role: 'system' | 'user' | 'assistant'; readonly content: string }[]
  readonly sampling: z.infer<typeof AnsweringSettings>
  readonly maxTokens: number
  readonly seed: number
}
export type PlayStop = { readonly k: 'stop'; readonly id: string }
export type ToPlay = PlayAsk | PlayStop

/** Short jobs that a `questions` job does as well: they load no weights and keep nothing. */
export const QUESTION_KINDS = ['tokens', 'plan'] as const satisfies readonly (keyof typeof JOB_INPUTS)[]
export type QuestionKind = (typeof QUESTION_KINDS)[number]
/** What a `questions` job is told: something to answer, or that nobody waits for the answer any more. */
export type Question =
  | { readonly k: 'ask'; readonly id: number; readonly kind: QuestionKind; readonly input: unknown }
  | { readonly k: 'stop'; readonly id: number }
/** What it says to each. `holdsDevice`: a GPU is open in its process from now on, whatever was asked. */
export type Answered = { readonly id: number; readonly holdsDevice: boolean } & (
  { readonly result: unknown } | { readonly error: ErrorShape }
)

export type JobKind = keyof typeof JOB_INPUTS
export type JobInput<K extends JobKind> = z.infer<(typeof JOB_INPUTS)[K]>
/** A job as it crosses the wire. `runDir` is where its run lives; '' for jobs without one. */
export type Job = { readonly kind: JobKind; readonly input: unknown; readonly runDir: string }

/** What a job function gets beside its input. */
export type JobContext = {
  readonly emit: (event: RunEvent) => void
  readonly signal: AbortSignal
  /** Fires when the job is asked to end after the step it is in. A job without steps may ignore it; `signal` follows then. */
  readonly afterStep?: AbortSignal
  /** Where what the host says to the job while it runs arrives, for jobs that take questions. */
  readonly hear?: (take: (message: unknown) => void) => void
  /** Tells the host something that is no event of a run: an answer, from a job that takes questions. */
  readonly say?: (message: unknown) => void
  readonly runDir: string
}
/**
 * A kind of job as a function. Its result is plain JSON; a `lines` field (array of text) is what the command line
 * prints, the whole of it is what `--json` prints. A run the signal stopped rejects with code `cancelled`.
 */
export type JobFunction<K extends JobKind> = (input: JobInput<K>, context: JobContext) => Promise<unknown>

/** An error as it crosses the wire; `stack` only for bugs (`internal`). */
export const ErrorShape = z.object({
  code: z.enum(Object.keys(EXIT_CODES) as [ErrorCode, ...ErrorCode[]]),
  message: z.string(),
  hint: z.string().optional(),
  stack: z.string().optional()
})
export type ErrorShape = z.infer<typeof ErrorShape>

export type ToWorker =
  | { readonly k: 'job'; readonly job: Job }
  | { readonly k: 'cancel'; readonly when?: 'now' | 'after_step' }
  | { readonly k: 'say'; readonly message: unknown }
export type FromWorker =
  | { readonly k: 'events'; readonly events: readonly RunEvent[] }
  | { readonly k: 'said'; readonly message: unknown }
  | { readonly k: 'result'; readonly result: unknown }
  | { readonly k: 'error'; readonly error: ErrorShape }
