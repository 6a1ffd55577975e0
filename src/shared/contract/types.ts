/** The contract's records as types only: a page that imports them carries no zod. */
export type { Machine, Settings, Versions } from './app.ts'
export type { Issue } from './call.ts'
export type { DatasetSummary } from './datasets.ts'
export type { EvaluatedItem, GradedAnswer, PairedTest, PolicyScore } from './evaluation.ts'
export type { AdapterFile, ModelFile } from './models.ts'
export type { AnswerChunk, RewardExplanation, SavedTrace } from './play.ts'
export type { Field } from './recipes.ts'
export type { Checkpoint, QueueState, RecordedEvent, RunAdapter, RunState, RunSummary, Series } from './runs.ts'
