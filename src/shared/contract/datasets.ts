/** Datasets: a dropped file, its format, its rows. */
import { z } from 'zod'
import { call, DatasetId, Follow, HostPath, Issue, Slice, Time } from './call.ts'

export const DATA_FORMATS = ['messages', 'sharegpt', 'alpaca', 'prompt_completion', 'prompt_solution', 'gsm8k'] as const

/** Which column plays which role, e.g. `{ prompt: 'question', solution: 'answer' }`. */
export const Mapping = z.record(z.string(), z.string())

export const DatasetSummary = z.object({
  id: DatasetId,
  name: z.string(),
  /** `traces` teach (sft), `tasks` are answered and graded (grpo, evaluate). */
  use: z.enum(['traces', 'tasks']),
  format: z.enum(DATA_FORMATS),
  rows: z.number().int(),
  /** The JSONL the recipes read. */
  path: HostPath,
  origin: z.string(),
  createdAt: Time,
  duplicates: z.number().int(),
  trashedAt: Time.nullable()
})
export type DatasetSummary = z.infer<typeof DatasetSummary>

export const DatasetRow = z.object({ index: z.number().int(), body: z.record(z.string(), z.unknown()) })

export const datasets = {
  list: call.input(z.strictObject({ trashed: z.boolean().default(false) })).output(z.array(DatasetSummary)),
  /** Takes a file's bytes in pieces (a browser has no path to give); the last piece answers with where it lies on the host. */
  upload: call
    .input(
      z.strictObject({
        name: z.string().min(1),
        upload: z.string().min(8),
        offset: z.number().int().nonnegative(),
        base64: z.string().max(6_000_000),
        last: z.boolean()
      })
    )
    .output(z.object({ path: HostPath.nullable() })),
  /** What an import would make of a file: format, mapping, ten rows, errors by line. Nothing is kept. */
  preview: call
    .input(z.strictObject({ path: HostPath, format: z.enum(DATA_FORMATS).optional(), mapping: Mapping.optional() }))
    .output(
      z.object({
        container: z.enum(['jsonl', 'json', 'csv', 'parquet']),
        columns: z.array(z.string()),
        format: z.enum(DATA_FORMATS).nullable(),
        why: z.string(),
        mapping: Mapping,
        rows: z.array(
          z.object({
            source: z.record(z.string(), z.unknown()),
            mapped: z.record(z.string(), z.unknown()).nullable(),
            problem: z.string().nullable()
          })
        ),
        checked: z.number().int(),
        issues: z.array(Issue)
      })
    ),
  /** Refused when no row is left; bad rows are left out and listed. */
  import: call
    .input(z.strictObject({ path: HostPath, name: z.string().min(1), format: z.enum(DATA_FORMATS), mapping: Mapping }))
    .output(z.object({ dataset: DatasetSummary, leftOut: z.array(Issue), leftOutTotal: z.number().int() })),
  rows: call
    .input(
      z.strictObject({
        id: DatasetId,
        ...Slice.shape,
        search: z.string().default(''),
        onlyDuplicates: z.boolean().default(false)
      })
    )
    .output(z.object({ rows: z.array(DatasetRow), total: z.number().int() })),
  /** Token lengths under a base's own template and vocabulary, as a histogram with the share over the context. */
  lengths: call
    .input(
      z.strictObject({ id: DatasetId, base: HostPath, sample: z.number().int().positive().max(20_000).default(2000) })
    )
    .output(
      z.object({
        edges: z.array(z.number()),
        counts: z.array(z.number().int()),
        longest: z.number().int(),
        median: z.number(),
        contextLength: z.number().int(),
        counted: z.number().int()
      })
    ),
  /** One row as tokens, those that are trained on marked. */
  tokens: call
    .input(z.strictObject({ id: DatasetId, index: z.number().int().nonnegative(), base: HostPath }))
    .output(z.object({ tokens: z.array(z.object({ id: z.number().int(), text: z.string(), trained: z.boolean() })) })),
  /** A seeded split into two new datasets. Whoever no longer waits for the answer takes it back: none is made then. */
  split: call
    .input(z.strictObject({ id: DatasetId, heldOutShare: z.number().gt(0).lt(1), seed: z.number().int().default(0) }))
    .output(z.object({ train: DatasetSummary, heldOut: DatasetSummary })),
  /** Without the rows that repeat an earlier one. Taken back as a split is. */
  deduplicate: call
    .input(z.strictObject({ id: DatasetId }))
    .output(z.object({ dataset: DatasetSummary, removed: z.number().int() })),
  /**
   * How far an import, a split or a deduplication is, in rows read, once that is no longer `after`; null: none is under way.
   * `source` is the file's path or the dataset's id; `of` null where nobody knows how many rows a file has.
   */
  making: call
    .input(z.strictObject({ source: z.string().min(1), after: z.number().int().default(-1), ...Follow }))
    .output(z.object({ done: z.number().int(), of: z.number().int().nullable() }).nullable()),
  rename: call.input(z.strictObject({ id: DatasetId, name: z.string().min(1) })).output(DatasetSummary),
  export: call.input(z.strictObject({ id: DatasetId })).output(z.object({ name: z.string(), text: z.string() })),
  /** To the trash and back. Nothing is deleted by itself: only by `deleteForever` and `emptyTrash`. */
  trash: call.input(z.strictObject({ ids: z.array(DatasetId).min(1) })).output(z.object({ trashed: z.number().int() })),
  restore: call
    .input(z.strictObject({ ids: z.array(DatasetId).min(1) }))
    .output(z.object({ restored: z.number().int() })),
  /** Rows and files. Refused for what is not in the trash, and for what a run that waits or runs reads. */
  deleteForever: call
    .input(z.strictObject({ ids: z.array(DatasetId).min(1) }))
    .output(z.object({ deleted: z.number().int() })),
  /** `deleteForever` of everything in the trash. */
  emptyTrash: call.input(z.strictObject({})).output(z.object({ deleted: z.number().int() }))
}
