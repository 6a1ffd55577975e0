/** Runs and their queue: what was asked for, where it stands, everything it reported. */
import { z } from 'zod'
import type { RunEvent, SampleRow } from '../event.ts'
import { call, Follow, HostPath, RunId, Slice, Time } from './call.ts'
import { PairedTest } from './evaluation.ts'

export const RUN_KINDS = ['demo', 'sft', 'grpo', 'evaluate', 'prepare', 'export', 'doctor', 'download'] as const

/** How a run stands. `held` waits without being due; `ended.how` is in the words of the run's last event. */
export const RunState = z.discriminatedUnion('kind', [
  z.object({ kind: z.literal('held') }),
  z.object({ kind: z.literal('queued'), place: z.number().int().nonnegative() }),
  z.object({
    kind: z.literal('running'),
    phase: z.string(),
    step: z.number().int().nullable(),
    of: z.number().int().nullable(),
    /** Of the momentary progress, e.g. rollouts of this step. */
    progress: z.object({ label: z.string(), done: z.number(), of: z.number() }).nullable(),
    /** Estimated from the steps so far; null until two are done. */
    remainingMs: z.number().nullable(),
    stopping: z.boolean()
  }),
  z.object({
    kind: z.literal('ended'),
    how: z.enum(['done', 'stopped', 'cancelled', 'failed', 'crashed']),
    reason: z.string(),
    hint: z.string().nullable(),
    /** A checkpoint is there, so `resume` continues instead of starting over. */
    resumable: z.boolean()
  })
])
export type RunState = z.infer<typeof RunState>

export const RunSummary = z.object({
  id: RunId,
  kind: z.enum(RUN_KINDS),
  name: z.string(),
  state: RunState,
  notes: z.string(),
  tags: z.array(z.string()),
  createdAt: Time,
  startedAt: Time.nullable(),
  endedAt: Time.nullable(),
  /** The folder with checkpoints, adapter, report. */
  folder: HostPath,
  base: HostPath.nullable(),
  /** Every weight is trained: it leaves a model instead of an adapter. */
  whole: z.boolean(),
  /** Run whose adapter or model this one started from, or hands over. */
  parent: RunId.nullable(),
  /** Of an export: the adapter that was chosen; null where the run's last one was taken unasked. */
  adapter: HostPath.nullable(),
  /** The last value of each headline metric, for lists. */
  headline: z.record(z.string(), z.number()),
  trashedAt: Time.nullable()
})
export type RunSummary = z.infer<typeof RunSummary>

/** A recorded event with its place in the run's record. `at` is when the host wrote it. */
export const RecordedEvent = z.object({ seq: z.number().int(), at: Time, event: z.custom<RunEvent>() })
export type RecordedEvent = z.infer<typeof RecordedEvent>

/** Metric points as columns; `step` and `value` have equal length. NaN does not occur: a gap is a missing point. */
export const Series = z.object({ metric: z.string(), step: z.array(z.number()), value: z.array(z.number()) })
export type Series = z.infer<typeof Series>

export const Checkpoint = z.object({
  step: z.number().int(),
  path: HostPath,
  adapter: HostPath.nullable(),
  /** Where every weight is trained. */
  model: HostPath.nullable(),
  bytes: z.number(),
  at: Time
})
export type Checkpoint = z.infer<typeof Checkpoint>

/** An adapter in a run's folder, or a whole model. */
export const RunAdapter = z.object({
  path: HostPath,
  whole: z.boolean(),
  /** Of a run of several stages (the demo): which one left it; else ''. */
  stage: z.string(),
  /** Of a checkpoint, counted over the whole run; null: what the stage ended with. */
  step: z.number().int().nullable()
})
export type RunAdapter = z.infer<typeof RunAdapter>

export const QueueState = z.object({
  paused: z.boolean(),
  running: z.array(RunSummary),
  waiting: z.array(RunSummary)
})
export type QueueState = z.infer<typeof QueueState>

export const runs = {
  list: call
    .input(
      z.strictObject({
        ...Slice.shape,
        search: z.string().default(''),
        kind: z.enum(RUN_KINDS).optional(),
        trashed: z.boolean().default(false)
      })
    )
    .output(z.object({ rows: z.array(RunSummary), total: z.number().int() })),
  get: call.input(z.strictObject({ id: RunId })).output(
    z.object({
      run: RunSummary,
      recipeYaml: z.string(),
      checkpoints: z.array(Checkpoint),
      /** What can be exported: what each stage ended with, the last one first, then checkpoints. */
      adapters: z.array(RunAdapter),
      planLines: z.array(z.string()),
      /** Of a run of several stages (the demo): the step after which each begins. */
      stages: z.array(z.object({ name: z.string(), after: z.number().int() }))
    })
  ),
  /** Queues a checked recipe (sft, grpo, evaluate), or a job without one. Answers at once. */
  start: call
    .input(
      z.discriminatedUnion('kind', [
        z.strictObject({
          kind: z.literal('recipe'),
          yaml: z.string(),
          name: z.string().optional(),
          parent: RunId.optional()
        }),
        z.strictObject({
          kind: z.literal('demo'),
          short: z.boolean().default(false),
          seed: z.number().int().default(0)
        }),
        z.strictObject({ kind: z.literal('doctor') }),
        z.strictObject({
          kind: z.literal('export'),
          run: RunId,
          /** One of `get`'s `adapters`; left out: the one the run ended with. */
          adapter: HostPath.optional(),
          to: HostPath.optional(),
          options: z.record(z.string(), z.unknown()).default({})
        }),
        z.strictObject({
          kind: z.literal('prepare'),
          base: HostPath,
          options: z.record(z.string(), z.unknown()).default({})
        })
      ])
    )
    .output(RunSummary),
  /** `after_step` lets the current step end and be saved; `now` ends it within a moment and keeps the last checkpoint. */
  stop: call
    .input(z.strictObject({ id: RunId, when: z.enum(['now', 'after_step']).default('after_step') }))
    .output(RunSummary),
  /** Continues an ended run from its last checkpoint, in its own record. */
  resume: call.input(z.strictObject({ id: RunId })).output(RunSummary),
  /** Holds a waiting run back, or lets a held one wait again. */
  hold: call.input(z.strictObject({ id: RunId, held: z.boolean() })).output(RunSummary),
  /** Moves a waiting run to a place in the queue, 0 is next. */
  move: call.input(z.strictObject({ id: RunId, place: z.number().int().nonnegative() })).output(QueueState),
  queue: call.input(z.strictObject({})).output(QueueState),
  pauseQueue: call.input(z.strictObject({ paused: z.boolean() })).output(QueueState),
  annotate: call
    .input(
      z.strictObject({
        id: RunId,
        name: z.string().optional(),
        notes: z.string().optional(),
        tags: z.array(z.string()).optional()
      })
    )
    .output(RunSummary),
  /** To the trash and back. A running run is refused. Nothing is deleted by itself: only by `deleteForever`, `emptyTrash`. */
  trash: call.input(z.strictObject({ ids: z.array(RunId).min(1) })).output(z.object({ trashed: z.number().int() })),
  restore: call.input(z.strictObject({ ids: z.array(RunId).min(1) })).output(z.object({ restored: z.number().int() })),
  /** Refused for what is not in the trash, and for what a run that waits or runs reads. */
  deleteForever: call
    .input(z.strictObject({ ids: z.array(RunId).min(1) }))
    .output(z.object({ deleted: z.number().int() })),
  /** `deleteForever` of everything in the trash. */
  emptyTrash: call.input(z.strictObject({})).output(z.object({ deleted: z.number().int() })),

  /** Follows a run's record from a cursor (0: from its start). `live` is the momentary part, never recorded. */
  follow: call
    .input(
      z.strictObject({
        id: RunId,
        after: z.number().int().nonnegative(),
        limit: z.number().int().positive().max(5000).default(2000),
        ...Follow
      })
    )
    .output(
      z.object({
        events: z.array(RecordedEvent),
        cursor: z.number().int(),
        state: RunState,
        /** Nothing recorded lies beyond the cursor. */
        caughtUp: z.boolean()
      })
    ),
  /** All points of the named metrics (default: every metric), thinned to at most `points` by min and max per bucket. */
  series: call
    .input(
      z.strictObject({
        id: RunId,
        metrics: z.array(z.string()).optional(),
        points: z.number().int().positive().max(20_000).default(4000)
      })
    )
    .output(z.object({ series: z.array(Series), cursor: z.number().int() })),
  /** The terminal's text from a cursor, oldest first: log lines and the worker's own output with its ANSI colours. */
  terminal: call
    .input(
      z.strictObject({
        id: RunId,
        after: z.number().int().nonnegative(),
        limit: z.number().int().positive().max(20_000).default(5000),
        ...Follow
      })
    )
    .output(z.object({ lines: z.array(z.string()), cursor: z.number().int(), ended: z.boolean() })),
  /** The last `limit` lines of the terminal, or those up to a place: a long run opens at its end. Answers at once. */
  terminalTail: call
    .input(
      z.strictObject({
        id: RunId,
        /** The last line wanted: an earlier answer's `earlier`. Left out: the end. */
        upTo: z.number().int().positive().optional(),
        limit: z.number().int().positive().max(20_000).default(5000)
      })
    )
    .output(
      z.object({
        lines: z.array(z.string()),
        /** The place of the line before the first of these, which is how many lie before them; 0: none does. */
        earlier: z.number().int(),
        /** Follow on from here with `terminal`. */
        cursor: z.number().int()
      })
    ),
  /** Which steps have recorded rollouts. */
  sampleSteps: call.input(z.strictObject({ id: RunId })).output(z.array(z.number().int())),
  /** The rollouts of one step, in groups of one prompt each. Rows are `SampleRow`s of the event. */
  samples: call
    .input(z.strictObject({ id: RunId, step: z.number().int() }))
    .output(z.array(z.object({ taskId: z.string(), prompt: z.string(), rows: z.array(z.custom<SampleRow>()) }))),
  /** report.html of the run, made when it is missing; self-contained. */
  report: call
    .input(z.strictObject({ id: RunId, format: z.enum(['html', 'md']).default('html') }))
    .output(z.object({ text: z.string() })),
  /** Settings of several runs side by side, only those that differ first, and the paired tests of their evaluations. */
  compare: call.input(z.strictObject({ ids: z.array(RunId).min(2).max(8) })).output(
    z.object({
      runs: z.array(RunSummary),
      settings: z.array(z.object({ path: z.string(), values: z.array(z.string().nullable()), differs: z.boolean() })),
      tests: z.array(PairedTest)
    })
  )
}
