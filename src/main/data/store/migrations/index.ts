/** Every version of the database in order: what a file of the version before becomes. A row here is never changed again. */
import { RUNS } from './001-runs.ts'
import { DATASETS } from './002-datasets.ts'
import { TRACES } from './003-traces.ts'

export const MIGRATIONS: readonly string[] = [RUNS, DATASETS, TRACES]
