/** Runs and their queue. */
import { existsSync, readFileSync, rmSync, statSync } from 'node:fs'
import { join, sep } from 'node:path'
import { AppError } from '../../shared/errors.ts'
import type { RunRow } from '../data/store/runs.ts'
import type { Calls } from './calls.ts'
import { pairsOf, settingRows, testsOf } from './compare.ts'
import { evaluationReader } from './evaluation-data.ts'
import type { Host } from './host.ts'
import { adaptersOf, checkpointsOf, measured } from './run-folder.ts'
import { refuseRead } from './readers.ts'
import { groupsOf } from './recorded-rollout.ts'
import { existing, startRun } from './run-start.ts'
import { queueState, stateOf, summaryOf } from './run-summary.ts'

export function runCalls(host: Host, read = evaluationReader(host)): Calls<'runs'> {
  const { store, queue, changes } = host
  const summary = (id: string): ReturnType<typeof summaryOf> => summaryOf(host, existing(host, id))
  const touched = (id: string): void => {
    changes.tell(`run/${id}`)
    host.changed('runs')
  }
  /** Folders a person chose elsewhere are theirs. */
  const isOurs = (folder: string): boolean => folder.startsWith(host.at('runs') + sep)
  const dropFolder = ({ folder }: RunRow): void => {
    if (isOurs(folder)) rmSync(folder, { recursive: true, force: true })
  }
  /** All or, where a run still needs the files of one of them, none. */
  const deleteRuns = (rows: readonly RunRow[]): { deleted: number } => {
    for (const { folder, name } of rows) if (isOurs(folder)) refuseRead(host, folder, `the files of ${name}`)
    for (const row of rows) {
      dropFolder(row)
      store.runs.delete(row.id)
      touched(row.id)
    }
    return { deleted: rows.length }
  }
  return {
    list: (asked) => {
      const { rows, total } = store.runs.list(asked)
      return { rows: rows.map((row) => summaryOf(host, row)), total }
    },
    get: ({ id }) => {
      const row = existing(host, id)
      const plan = store.events.rare(row.number, 'plan').at(-1)?.event
      return {
        run: summaryOf(host, row),
        recipeYaml: recipeOf(row),
        checkpoints: checkpointsOf(row),
        adapters: adaptersOf(row).map(({ path, whole, stage, step }) => ({ path, whole, stage, step })),
        planLines: plan?.kind === 'plan' ? [...plan.lines] : [],
        stages: Object.entries(JSON.parse(row.stages) as Record<string, number>).map(([name, after]) => ({
          name,
          after
        }))
      }
    },
    start: async (asked) => summaryOf(host, await startRun(host, asked)),
    stop: ({ id, when }) => {
      queue.stop(id, when)
      return summary(id)
    },
    resume: ({ id }) => {
      queue.resume(id)
      return summary(id)
    },
    hold: ({ id, held }) => {
      queue.hold(id, held)
      return summary(id)
    },
    move: ({ id, place }) => {
      queue.move(id, place)
      return queueState(host)
    },
    queue: () => queueState(host),
    pauseQueue: ({ paused }) => {
      queue.pause(paused)
      return queueState(host)
    },
    annotate: ({ id, name, notes, tags }) => {
      existing(host, id)
      store.runs.change(id, {
        ...(name !== undefined && { name }),
        ...(notes !== undefined && { notes }),
        ...(tags !== undefined && { tags: JSON.stringify(tags) })
      })
      touched(id)
      return summary(id)
    },
    trash: ({ ids }) => {
      for (const row of ids.map((id) => existing(host, id))) {
        if (row.state === 'running')
          throw new AppError('usage', `${row.name} runs`, 'Stop it first; nothing was put into the trash.')
      }
      for (const id of ids) {
        if (existing(host, id).state !== 'ended') queue.stop(id, 'now')
        store.runs.change(id, { trashed_at: Date.now() })
        // Half a file is of no use but to go on: out of the trash the download starts over.
        if (existing(host, id).kind === 'download') {
          dropFolder(existing(host, id))
          store.runs.change(id, { resumable: 0, hint: null })
        }
        touched(id)
      }
      return { trashed: ids.length }
    },
    restore: ({ ids }) => {
      for (const id of ids) {
        existing(host, id)
        store.runs.change(id, { trashed_at: null })
        touched(id)
      }
      return { restored: ids.length }
    },
    deleteForever: ({ ids }) => {
      const rows = ids.map((id) => existing(host, id))
      const kept = rows.find((row) => row.trashed_at === null)
      if (kept !== undefined)
        throw new AppError(
          'usage',
          `${kept.name} is not in the trash`,
          'Only what is in the trash can be deleted for ever.'
        )
      return deleteRuns(rows)
    },
    emptyTrash: () => deleteRuns(store.runs.list({ offset: 0, limit: -1, search: '', trashed: true }).rows),
    follow: async ({ id, after, limit, waitMs }, signal) => {
      const row = existing(host, id)
      const before = JSON.stringify(stateOf(host, row))
      let events = store.events.after(row.number, after, limit)
      const deadline = Date.now() + waitMs
      // Nothing new: wait for the record to grow, or for the momentary state to change after this moment.
      while (events.length === 0 && Date.now() < deadline && signal?.aborted !== true) {
        await changes.next(`run/${id}`, deadline - Date.now(), signal)
        const now = store.runs.get(id)
        if (now === undefined) throw new AppError('usage', 'the run was deleted')
        events = store.events.after(row.number, after, limit)
        if (events.length === 0 && JSON.stringify(stateOf(host, now)) !== before) break
      }
      const cursor = events.at(-1)?.seq ?? after
      return {
        events: [...events],
        cursor,
        state: stateOf(host, existing(host, id)),
        caughtUp: store.events.lastSeq(row.number) <= cursor
      }
    },
    series: ({ id, metrics, points }) => {
      const row = existing(host, id)
      const cursor = store.events.lastSeq(row.number)
      return { series: [...store.events.series(row.number, metrics, points)], cursor }
    },
    terminal: async ({ id, after, limit, waitMs }, signal) => {
      const row = existing(host, id)
      const deadline = Date.now() + waitMs
      const ended = (): boolean => {
        const { state } = existing(host, id)
        return state !== 'running'
      }
      let found = store.events.terminal(row.number, after, limit)
      while (found.lines.length === 0 && !ended() && Date.now() < deadline && signal?.aborted !== true) {
        await changes.next(`run/${id}`, deadline - Date.now(), signal)
        found = store.events.terminal(row.number, after, limit)
      }
      return { ...found, ended: ended() }
    },
    terminalTail: ({ id, upTo, limit }) => store.events.terminalTail(existing(host, id).number, upTo ?? null, limit),
    sampleSteps: ({ id }) => [...store.events.sampleSteps(existing(host, id).number)],
    samples: ({ id, step }) =>
      groupsOf(store.events.samples(existing(host, id).number, step)).map((group) => ({
        ...group,
        rows: [...group.rows]
      })),
    report: async ({ id, format }, signal) => {
      const row = existing(host, id)
      const file = join(row.folder, `report.${format}`)
      const made = statSync(file, { throwIfNoEntry: false })?.mtimeMs
      const fresh = made !== undefined && row.ended_at !== null && made + 60_000 >= row.ended_at
      if (!fresh && !(row.kind === 'demo' && made !== undefined))
        await host.ask('report', {}, { signal, runDir: row.folder })
      return { text: readFileSync(file, 'utf8') }
    },
    compare: async ({ ids }, signal) => {
      const rows = ids.map((id) => existing(host, id))
      const results = rows.map((row) => ({ name: row.name, results: measured(row) ? read(row).results : [] }))
      const tests = await testsOf(pairsOf(results), signal)
      return { runs: rows.map((row) => summaryOf(host, row)), settings: settingRows(rows), tests }
    }
  }
}

/** As it was written, else as the run keeps it. */
function recipeOf(row: RunRow): string {
  const file = join(row.folder, 'recipe.yaml')
  return row.recipe !== '' ? row.recipe : existsSync(file) ? readFileSync(file, 'utf8') : ''
}
