/** The store of one workspace: its database and what is kept in it. */
import { openDb } from './db.ts'
import type { OpenedDb } from './db.ts'
import { datasetStore } from './datasets.ts'
import type { DatasetStore } from './datasets.ts'
import { eventStore } from './events.ts'
import type { EventStore } from './events.ts'
import { runStore } from './runs.ts'
import type { RunStore } from './runs.ts'
import { judgementStore } from './judgements.ts'
import type { JudgementStore } from './judgements.ts'
import { traceStore } from './traces.ts'
import type { TraceStore } from './traces.ts'
import { settingStore } from './settings.ts'
import type { SettingStore } from './settings.ts'

export type Store = {
  readonly opened: OpenedDb
  readonly runs: RunStore
  readonly events: EventStore
  readonly settings: SettingStore
  readonly traces: TraceStore
  readonly datasets: DatasetStore
  readonly judgements: JudgementStore
}

/** Opens the store of a workspace folder. Throws AppError('disk') when another host has it or it is damaged beyond repair. */
export function openStore(folder: string): Store {
  const opened = openDb(folder)
  const { db } = opened
  return {
    opened,
    runs: runStore(db),
    events: eventStore(db),
    settings: settingStore(db),
    traces: traceStore(db),
    datasets: datasetStore(db),
    judgements: judgementStore(db)
  }
}
