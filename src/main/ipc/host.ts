/** Everything the calls of the contract work on, put together once: store, queue, who waits for changes, settings. */
import { appendFileSync, existsSync, mkdirSync, readFileSync, renameSync, rmSync, statSync } from 'node:fs'
import { homedir } from 'node:os'
import { join, resolve } from 'node:path'
import { AppError } from '../../shared/errors.ts'
import { Settings } from '../../shared/contract/app.ts'
import type { Versions } from '../../shared/contract/app.ts'
import type { Recipe } from '../../shared/recipe.ts'
import { QUESTION_KINDS } from '../../shared/worker-contract.ts'
import type { JobInput, JobKind, QuestionKind } from '../../shared/worker-contract.ts'
import { openStore } from '../data/store/index.ts'
import type { Store } from '../data/store/index.ts'
import { removeAbandoned, removeAbandonedIn } from '../files/partial.ts'
import { createChanges } from '../jobs/changes.ts'
import type { Changes } from '../jobs/changes.ts'
import { crashReport } from '../jobs/crash-report.ts'
import { createQueue } from '../jobs/queue.ts'
import type { Queue } from '../jobs/queue.ts'
import { startJob } from '../jobs/supervisor.ts'
import { createWarmWorker } from '../jobs/warm-worker.ts'
import type { WarmWorker } from '../jobs/warm-worker.ts'
import type { RunRow } from '../data/store/runs.ts'

export type HostOptions = {
  readonly workspace: string
  readonly workerPath: string
  readonly version: string
  /** In a window of its own, with the desktop's notifications and dialogs. */
  readonly desktop: boolean
  /** Called while jobs run and when they no longer do: keeps the machine awake. */
  readonly onBusy?: (busy: boolean) => void
  readonly onEnded?: (run: RunRow) => void
  /** Something went wrong that no run's end tells, e.g. a full disk. */
  readonly onTrouble?: (what: string) => void
  /** Opens the desktop's file manager at a path that is there; left out where there is no desktop. */
  readonly showInFolder?: (path: string) => void
  /** Time between backups, milliseconds. */
  readonly backupEveryMs?: number
}

export type Host = {
  readonly options: HostOptions
  readonly store: Store
  readonly queue: Queue
  readonly changes: Changes
  /** What happened that a person should know and no run says. */
  readonly notices: string[]
  readonly at: (...names: string[]) => string
  readonly versions: () => { readonly cursor: number; readonly versions: Versions }
  /** Something of this kind changed: pages that show it ask again. */
  readonly changed: (kind: keyof Versions) => void
  readonly settings: () => Settings
  readonly changeSettings: (values: Partial<Settings>) => Settings
  /**
   * Runs a short job beside the queue: what needs native code and no device. Kinds of `QUESTION_KINDS` go to a worker that
   * stays for a while, others to one of their own.
   */
  readonly ask: <K extends JobKind>(kind: K, input: JobInput<K>, options?: AskOptions) => Promise<unknown>
  readonly log: (text: string) => void
  readonly logTail: (lines: number) => string[]
  /** Called before a job takes the device, in order: whatever else holds it lets go. */
  readonly onFreeDevice: (release: () => Promise<void>) => void
  /** Called when the host closes. */
  readonly onClose: (close: () => void | Promise<void>) => void
  readonly close: () => Promise<void>
}
export type AskOptions = { readonly signal?: AbortSignal | undefined; readonly runDir?: string }

const BACKUP_EVERY_MS = 30 * 60_000
const LOG_BYTES = 2 * 2 ** 20

/** Where runs and data live when nothing else is asked for. */
export const defaultWorkspace = (): string =>
  resolve(process.env['REASONSMITH_WORKSPACE'] ?? join(homedir(), 'reasonsmith'))

/** Opens a workspace. Throws AppError('disk') when another host has it. */
export function openHost(options: HostOptions): Host {
  const workspace = resolve(options.workspace)
  const at = (...names: string[]): string => join(workspace, ...names)
  const store = openStore(workspace)
  for (const name of ['runs', 'datasets', 'uploads', 'models', 'exports', 'logs'])
    mkdirSync(at(name), { recursive: true })
  const changes = createChanges()
  const notices = [...store.opened.notices]
  const versions: Versions = { runs: 1, models: 1, datasets: 1, settings: 1, play: 1 }
  const releases: (() => Promise<void>)[] = []
  const closers: (() => void | Promise<void>)[] = []

  const changed = (kind: keyof Versions): void => {
    versions[kind]++
    changes.tell('app')
  }
  const trouble = (what: string): void => {
    notices.push(what)
    changes.tell('app')
    options.onTrouble?.(what)
  }
  const log = logger(at('logs', 'host.log'))
  const settings = (): Settings =>
    Settings.parse({ ...DEFAULTS, ...store.settings.get<Partial<Settings>>('settings', {}) })
  const queue = createQueue({
    workerPath: options.workerPath,
    runs: store.runs,
    events: store.events,
    changed: (run) => {
      if (run !== null) changes.tell(`run/${run}`)
      changed('runs')
    },
    onEnded: (run) => {
      log(`${run.kind} ${run.name}: ${run.how}: ${run.reason}`)
      if (run.kind === 'download' || run.kind === 'prepare' || run.kind === 'export') changed('models')
      clearPartial(run)
      if (run.kind === 'doctor' && run.result !== null) store.settings.set('doctor', JSON.parse(run.result))
      options.onEnded?.(run)
    },
    onTrouble: (what) => {
      log(what)
      trouble(what)
    },
    freeDevice: async () => {
      for (const release of releases) await release()
    },
    onBusy: (busy) => options.onBusy?.(busy),
    continueAfterFailure: () => settings().continueQueueAfterFailure,
    paused: {
      get: () => store.settings.get('queuePaused', false),
      set: (paused) => store.settings.set('queuePaused', paused)
    }
  })

  const clear = (of: string, remove: () => readonly string[]): void => {
    try {
      for (const path of remove()) log(`removed what ${of} left half written: ${path}`)
    } catch (error) {
      log(`what ${of} left half written is still there: ${String(error)}`)
    }
  }
  /** What a killed export was writing. Its run says that it crashed; the next export of the same folder would do this too. */
  const clearPartial = (run: RunRow): void => {
    if (run.kind === 'export' && run.how === 'crashed') clear(run.name, () => removeAbandoned(run.folder))
  }
  store.runs.list({ offset: 0, limit: -1, search: '', kind: 'export', trashed: false }).rows.forEach(clearPartial)
  clear('a killed host', () => [
    ...removeAbandonedIn(at('datasets')),
    ...store.datasets.leftBehind.filter((path) => existsSync(path)).map((path) => (rmSync(path), path))
  ])

  let backedUpEvents = -1
  const backUp = async (): Promise<void> => {
    try {
      const events = store.events.count()
      if (events === backedUpEvents) return
      await store.opened.backup()
      backedUpEvents = events
    } catch (error) {
      log(`the backup failed: ${String(error)}`)
      trouble(`The backup of the record failed: ${String(error)}`)
    }
  }
  const backups = setInterval(() => void backUp(), options.backupEveryMs ?? BACKUP_EVERY_MS)
  backups.unref()

  let closing = false
  const asked = new Set<() => void>()
  /** By the device that is asked about: a process opens one device and keeps it. */
  const warm = new Map<string, WarmWorker>()
  const warmWorker = (device: string): WarmWorker => {
    const found = warm.get(device)
    if (found !== undefined) return found
    const made = createWarmWorker({ workerPath: options.workerPath, mayHoldDevice: () => !queue.wantsDevice() })
    warm.set(device, made)
    return made
  }
  releases.push(async () => {
    for (const [device, worker] of warm) if (device !== 'cpu') await worker.freeDevice()
  })
  return {
    options: { ...options, workspace },
    store,
    queue,
    changes,
    notices,
    at,
    versions: () => ({ cursor: Object.values(versions).reduce((sum, one) => sum + one, 0), versions: { ...versions } }),
    changed,
    settings,
    changeSettings: (values) => {
      const next = Settings.parse({ ...settings(), ...values })
      store.settings.set('settings', next)
      changed('settings')
      return next
    },
    ask: async (kind, input, { signal, runDir = '' } = {}) => {
      if (closing || signal?.aborted === true) throw new AppError('cancelled', 'stopped')
      if (isQuestion(kind)) return warmWorker(deviceIn(input)).ask(kind, input, signal)
      const job = startJob({ kind, input, runDir }, { workerPath: options.workerPath, onEvent: () => undefined })
      asked.add(job.kill)
      const stop = (): void => job.kill()
      signal?.addEventListener('abort', stop)
      const outcome = await job.ended
      signal?.removeEventListener('abort', stop)
      asked.delete(job.kill)
      if (outcome.kind === 'done') return outcome.result
      if (outcome.kind === 'failed') throw new AppError(outcome.error.code, outcome.error.message, outcome.error.hint)
      if (outcome.kind === 'cancelled') throw new AppError('cancelled', 'stopped')
      throw new AppError('internal', crashReport(outcome.crash))
    },
    log,
    logTail: (lines) => tail(at('logs', 'host.log'), lines),
    onFreeDevice: (release) => void releases.push(release),
    onClose: (close) => void closers.push(close),
    close: async () => {
      closing = true
      clearInterval(backups)
      changes.close()
      for (const kill of asked) kill()
      for (const worker of warm.values()) worker.close()
      for (const close of closers) await close()
      await queue.close()
      store.opened.close()
    }
  }
}

const isQuestion = (kind: JobKind): kind is QuestionKind => (QUESTION_KINDS as readonly JobKind[]).includes(kind)
/** The device that a question is about; one that names none is about a file. */
const deviceIn = (input: object): string => ('recipe' in input ? (input.recipe as Recipe).device : 'cpu')

const DEFAULTS: Settings = {
  theme: 'system',
  modelFolders: [],
  device: 'auto',
  threads: null,
  notifications: true,
  continueQueueAfterFailure: true
}

/** Lines with their time in a file that is turned over once. Nothing leaves the machine. */
function logger(path: string): (text: string) => void {
  return (text) => {
    try {
      if (existsSync(path) && statSync(path).size > LOG_BYTES) renameSync(path, `${path}.1`)
      appendFileSync(path, `${new Date().toISOString()} ${text}\n`)
    } catch {
      // a log that cannot be written must not end what it would have told of
    }
  }
}

function tail(path: string, lines: number): string[] {
  if (!existsSync(path)) return []
  return readFileSync(path, 'utf8').trimEnd().split('\n').slice(-lines)
}
