/** The app as a whole: what changed since you looked, the machine, settings, files. */
import { z } from 'zod'
import { call, Follow, HostPath } from './call.ts'
import { QueueState, RunSummary } from './runs.ts'

export const Machine = z.object({
  host: z.string(),
  os: z.string(),
  processor: z.string(),
  processors: z.number().int(),
  memoryBytes: z.number(),
  freeMemoryBytes: z.number(),
  /** Share of all processors in use, 0 to 1. */
  load: z.number(),
  /** Of the workspace's disk. */
  freeDiskBytes: z.number(),
  /** Filled by the last doctor run; null until one was made. */
  device: z
    .object({ name: z.string(), backend: z.string(), gemmGflops: z.number().nullable(), verdict: z.string() })
    .nullable()
})
export type Machine = z.infer<typeof Machine>

/** Counters that grow when something of that kind changed: a page that shows it asks again. */
export const Versions = z.object({
  runs: z.number(),
  models: z.number(),
  datasets: z.number(),
  settings: z.number(),
  play: z.number()
})
export type Versions = z.infer<typeof Versions>

export const Settings = z.object({
  theme: z.enum(['system', 'light', 'dark']),
  /** Folders that are searched for GGUF files besides the known caches. */
  modelFolders: z.array(HostPath),
  device: z.enum(['auto', 'cpu', 'cuda', 'vulkan', 'metal']),
  threads: z.number().int().positive().nullable(),
  notifications: z.boolean(),
  /** Hours after which the trash may be emptied by hand is not a setting: nothing is deleted by itself. */
  continueQueueAfterFailure: z.boolean()
})
export type Settings = z.infer<typeof Settings>

export const app = {
  /** Follows the app: answers when anything changed after `after`, at most twice a second. */
  follow: call.input(z.strictObject({ after: z.number().int().nonnegative(), ...Follow })).output(
    z.object({
      cursor: z.number().int(),
      versions: Versions,
      queue: QueueState,
      machine: Machine,
      notices: z.array(z.string())
    })
  ),
  /** What a first look needs. `firstStart` is true until a run exists. */
  home: call.input(z.strictObject({})).output(
    z.object({
      firstStart: z.boolean(),
      queue: QueueState,
      finishedSinceSeen: z.array(RunSummary),
      recent: z.array(RunSummary),
      machine: Machine
    })
  ),
  /** The person has looked at what finished. */
  seen: call.input(z.strictObject({})).output(z.object({})),
  settings: call.input(z.strictObject({})).output(Settings),
  changeSettings: call.input(Settings.partial()).output(Settings),
  about: call.input(z.strictObject({})).output(
    z.object({
      version: z.string(),
      versions: z.record(z.string(), z.string()),
      workspace: HostPath,
      /** What this host can do: a browser tab has no native dialogs. */
      desktop: z.boolean(),
      licences: z.string(),
      logTail: z.array(z.string()),
      database: z.object({
        bytes: z.number(),
        events: z.number(),
        integrity: z.string(),
        lastBackupAt: z.number().nullable()
      })
    })
  ),
  /** Opens the desktop's file manager at a file or folder. Refused where the host has no desktop: in `serve`. */
  showInFolder: call.input(z.strictObject({ path: HostPath })).output(z.object({})),
  /** The folders and files at a path, for choosing one on the host. Without a path: the home folder. */
  browse: call.input(z.strictObject({ path: HostPath.optional(), extensions: z.array(z.string()).default([]) })).output(
    z.object({
      path: HostPath,
      parent: HostPath.nullable(),
      entries: z.array(z.object({ name: z.string(), path: HostPath, folder: z.boolean(), bytes: z.number() }))
    })
  )
}
