/** What evaluation keeps in a run folder, each file written whole: a temporary name, fsync, rename. */
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { AppError } from '../../shared/errors.ts'
import type { CacheType } from '../../shared/recipe.ts'
import { writeWholeFile } from '../files/whole-file.ts'
import type { ReportData, StageResult, TraceComparison } from './report/data.ts'

export const RECIPE_FILE = 'recipe.yaml'
export const EVENTS_FILE = 'events.jsonl'
const ORIGIN_FILE = 'run.json'
const RESULTS_FILE = 'results.json'
const COMPOSED_FILE = 'report.json'

/** Where a run's numbers come from; kept with them, so that a report made later on another machine still says so. */
export type Origin = {
  /** When it was started, ISO 8601. */
  readonly date: string
  readonly command: string
  readonly environment: Readonly<Record<string, string>>
  /** Evaluation only: of everything its answers depend on, how many sequences were decoded at once, on how many threads. */
  readonly fingerprint?: string
  readonly width?: number
  readonly cacheType?: CacheType
  readonly threads?: number
}

/** The graded answers of every stage, and some of them in full. */
export type Results = { readonly results: readonly StageResult[]; readonly traces: readonly TraceComparison[] }

/** Throws AppError('disk') and leaves nothing half-written. */
export const writeWhole = (path: string, text: string): void =>
  writeWholeFile(path, (temporary) => writeFileSync(temporary, text))

export const keepOrigin = (folder: string, origin: Origin): void =>
  writeWhole(join(folder, ORIGIN_FILE), JSON.stringify(origin, null, 2) + '\n')

/** null where the folder has none. */
export const originOf = (folder: string): Origin | null => readJson<Origin>(join(folder, ORIGIN_FILE))

export const keepResults = (folder: string, results: Results): void =>
  writeWhole(join(folder, RESULTS_FILE), JSON.stringify(results) + '\n')

/** null where the folder has none. */
export const resultsOf = (folder: string): Results | null => readJson<Results>(join(folder, RESULTS_FILE))

/** For a job of several runs, which alone knows how its stages hang together: what its report was made of. */
export const keepComposedReport = (folder: string, data: ReportData): void =>
  writeWhole(join(folder, COMPOSED_FILE), JSON.stringify(data) + '\n')

/** null where the folder has none. */
export const composedReport = (folder: string): ReportData | null => readJson<ReportData>(join(folder, COMPOSED_FILE))

function readJson<T>(path: string): T | null {
  if (!existsSync(path)) return null
  try {
    return JSON.parse(readFileSync(path, 'utf8')) as T
  } catch (cause) {
    if (!(cause instanceof SyntaxError)) throw cause
    throw new AppError('data', `${path}: not JSON`, 'The file was changed or damaged; make the run again.', { cause })
  }
}
