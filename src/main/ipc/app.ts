/** The app as a whole: what changed, the machine, settings, folders. */
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { homedir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { AppError } from '../../shared/errors.ts'
import type { Calls } from './calls.ts'
import type { Host } from './host.ts'
import { deviceOf } from './doctor-facts.ts'
import { machineReader } from './machine.ts'
import { queueState, summaryOf } from './run-summary.ts'

/** Changes within this time are told together: a page is asked to draw at most twice a second. */
const TOGETHER_MS = 500
const RECENT = 12
const LOG_LINES = 400

export function appCalls(host: Host): Calls<'app'> {
  const { store, changes } = host
  const machine = machineReader(host.options.workspace, () => deviceOf(store.settings.get<unknown>('doctor', null)))
  return {
    follow: async ({ after, waitMs }, signal) => {
      // A cursor of another life of the host lies ahead of this one's: the page starts anew.
      if (host.versions().cursor === after) {
        await changes.next('app', waitMs, signal)
        await pause(Math.min(TOGETHER_MS, waitMs), undefined, { ref: false })
      }
      return { ...host.versions(), queue: queueState(host), machine: machine(), notices: [...host.notices] }
    },
    home: () => ({
      firstStart: store.runs.count() === 0,
      queue: queueState(host),
      finishedSinceSeen: store.runs.endedUnseen().map((row) => summaryOf(host, row)),
      recent: store.runs
        .list({ offset: 0, limit: RECENT, search: '', trashed: false })
        .rows.map((row) => summaryOf(host, row)),
      machine: machine()
    }),
    seen: () => {
      store.runs.markSeen()
      host.changed('runs')
      return {}
    },
    settings: () => host.settings(),
    changeSettings: (values) => {
      for (const folder of values.modelFolders ?? []) {
        if (!existsSync(folder) || !statSync(folder).isDirectory())
          throw new AppError('usage', `no such folder: ${folder}`, 'Choose a folder that is there.')
      }
      const given = Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined))
      const next = host.changeSettings(given)
      if (values.modelFolders !== undefined) host.changed('models')
      return next
    },
    about: () => ({
      version: host.options.version,
      versions: { node: process.versions.node, ...electronVersions(), sqlite: sqliteVersion(host) },
      workspace: host.options.workspace,
      desktop: host.options.desktop,
      licences: licences(),
      logTail: host.logTail(LOG_LINES),
      database: {
        bytes: ['', '-wal'].map((end) => sizeOf(store.opened.path + end)).reduce((sum, one) => sum + one, 0),
        events: store.events.count(),
        integrity: store.opened.integrity,
        lastBackupAt: store.opened.lastBackupAt()
      }
    }),
    showInFolder: ({ path }) => {
      const show = host.options.showInFolder
      if (show === undefined)
        throw new AppError('usage', 'this host has no desktop to show a folder on', 'Copy the path instead.')
      if (!existsSync(path)) throw new AppError('usage', `${path} is not there`, 'It may have been moved or deleted.')
      show(resolve(path))
      return {}
    },
    browse: ({ path, extensions }) => browse(path ?? homedir(), extensions)
  }
}

const electronVersions = (): Record<string, string> =>
  process.versions['electron'] === undefined
    ? {}
    : { electron: process.versions['electron'], chromium: process.versions['chrome'] ?? '' }

const sqliteVersion = (host: Host): string =>
  String(host.store.opened.db.prepare('SELECT sqlite_version()').pluck().get())

/** Beside the sources, or beside what was built from them. */
function licences(): string {
  for (let folder = import.meta.dirname; folder !== dirname(folder); folder = dirname(folder)) {
    const file = join(folder, 'THIRD_PARTY_NOTICES.md')
    if (existsSync(file)) return readFileSync(file, 'utf8')
  }
  return ''
}

const sizeOf = (path: string): number => statSync(path, { throwIfNoEntry: false })?.size ?? 0

type Listed = {
  path: string
  parent: string | null
  entries: { name: string; path: string; folder: boolean; bytes: number }[]
}

/** Folders first, then files with one of the extensions (all files where none is named); hidden ones are left out. */
function browse(asked: string, extensions: readonly string[]): Listed {
  const path = resolve(asked)
  let names: string[]
  try {
    names = readdirSync(path)
  } catch (cause) {
    throw new AppError('usage', `${path} cannot be listed: ${(cause as Error).message}`, 'Choose another folder.', {
      cause
    })
  }
  const wanted = extensions.map((extension) => `.${extension.replace(/^\./, '').toLowerCase()}`)
  const entries = names
    .filter((name) => !name.startsWith('.'))
    .flatMap((name) => {
      const found = statSync(join(path, name), { throwIfNoEntry: false })
      if (found === undefined) return []
      const fits = wanted.length === 0 || wanted.some((extension) => name.toLowerCase().endsWith(extension))
      if (!found.isDirectory() && !(found.isFile() && fits)) return []
      return [{ name, path: join(path, name), folder: found.isDirectory(), bytes: found.isFile() ? found.size : 0 }]
    })
    .sort((a, b) => Number(b.folder) - Number(a.folder) || a.name.localeCompare(b.name))
  return { path, parent: dirname(path) === path ? null : dirname(path), entries }
}
