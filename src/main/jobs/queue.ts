/**
 * The queue of jobs over the supervisor: one at a time for each lease (the device that trains; the network), in the order
 * the rows say. Everything that must outlive the host is in the store; what is momentary lives here. A worker may die of
 * anything: its run then says what happened, and the queue goes on.
 */
import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { AppError } from '../../shared/errors.ts'
import type { RunEvent } from '../../shared/event.ts'
import type { JobKind } from '../../shared/worker-contract.ts'
import type { NewRun, RunRow, RunStore } from '../data/store/runs.ts'
import type { EventStore } from '../data/store/events.ts'
import { crashReport } from './crash-report.ts'
import { createRecorder } from './recorder.ts'
import type { Live, Recorder } from './recorder.ts'
import { startJob } from './supervisor.ts'
import type { Outcome, RunningJob } from './supervisor.ts'

export type QueueOptions = {
  readonly workerPath: string
  readonly runs: RunStore
  readonly events: EventStore
  /** A run or the queue changed: its id, or null for the queue as a whole. */
  readonly changed: (run: string | null) => void
  /** Every event of every run, as it comes. */
  readonly onEvent?: (run: RunRow, event: RunEvent) => void
  readonly onEnded?: (run: RunRow) => void
  /** Something went wrong that no run can tell, e.g. a full disk for the record. */
  readonly onTrouble?: (what: string) => void
  /** Called before a job of the device's lease starts and awaited: lets go of what else holds the device. */
  readonly freeDevice?: () => Promise<void>
  /** True while any job runs: the machine must not sleep then. */
  readonly onBusy?: (busy: boolean) => void
  readonly continueAfterFailure?: () => boolean
  readonly paused?: { readonly get: () => boolean; readonly set: (paused: boolean) => void }
  readonly now?: () => number
}

export type Queue = {
  readonly add: (run: NewRun) => RunRow
  /** Asks a running job to stop, takes a waiting one out. A second `now` ends the process. */
  readonly stop: (id: string, when: 'now' | 'after_step') => void
  readonly resume: (id: string) => void
  readonly hold: (id: string, held: boolean) => void
  readonly move: (id: string, place: number) => void
  readonly pause: (paused: boolean) => void
  readonly isPaused: () => boolean
  readonly live: (id: string) => Live | null
  /** A GPU job runs or is due. */
  readonly wantsDevice: () => boolean
  /** The run that has the device. */
  readonly onDevice: () => RunRow | null
  /** Resolves when no run has the device or is due, whatever is fetched beside it; and when the queue closes. */
  readonly deviceFree: () => Promise<void>
  /** Asks what runs to stop and waits; what does not listen is ended. Those runs are resumable. */
  readonly close: (patienceMs?: number) => Promise<void>
}

/** How often an end or a start that could not be written is tried again. */
const KEEP_AGAIN_MS = 2000

type Lease = 'device' | 'network'
const LEASES: { readonly [K in JobKind]?: Lease } & Readonly<Record<string, Lease>> = { download: 'network' }
const leaseOf = (kind: string): Lease => LEASES[kind] ?? 'device'

type Running = { readonly row: RunRow; readonly job: RunningJob; readonly recorder: Recorder; stops: number }

/** Sets up the queue: runs that ran when the last host ended are closed as crashed, then what waits may start. */
export function createQueue(options: QueueOptions): Queue {
  const { runs, events, changed, now = Date.now } = options
  const running = new Map<Lease, Running>()
  const starting = new Set<Lease>()
  /** Runs whose start could not be recorded: each is told of once. */
  const unstarted = new Set<string>()
  let paused = options.paused?.get() ?? false
  let closing = false
  const deviceWaiters: (() => void)[] = []

  for (const row of runs.withState('running')) {
    const reason = 'the app ended while this ran'
    const resumable = isResumable(row)
    runs.change(row.id, {
      state: 'ended',
      how: 'crashed',
      reason,
      hint: hintFor(resumable, row.kind),
      resumable: +resumable,
      ended_at: now()
    })
    events.append(row.number, { events: [], lines: [`\u001b[31m${reason}\u001b[39m`] })
  }

  const of = (id: string): Running | undefined => [...running.values()].find(({ row }) => row.id === id)
  const existing = (id: string): RunRow => {
    const row = runs.get(id)
    if (row === undefined)
      throw new AppError('usage', 'there is no such run', 'It may have been deleted; look at the list of runs.')
    return row
  }

  const pump = (): void => {
    if (closing) return
    for (const lease of ['device', 'network'] as const) {
      if (running.has(lease) || starting.has(lease) || (paused && lease === 'device')) continue
      const next = runs.waiting().find((row) => row.state === 'queued' && leaseOf(row.kind) === lease)
      if (next !== undefined) void start(next, lease)
    }
  }

  const start = async (row: RunRow, lease: Lease): Promise<void> => {
    starting.add(lease)
    try {
      if (lease === 'device') await options.freeDevice?.()
      const still = runs.get(row.id)
      if (!closing && still?.state === 'queued' && still.trashed_at === null) launch(still, lease)
    } catch (error) {
      // A disk that is full now may have room later; until then the run waits.
      if (!unstarted.has(row.id)) options.onTrouble?.(`${row.name} could not be started: ${String(error)}`)
      unstarted.add(row.id)
      setTimeout(pump, KEEP_AGAIN_MS).unref()
      return
    } finally {
      starting.delete(lease)
      wakeWaiters()
    }
    if (!running.has(lease)) pump()
  }
  const wantsDevice = (): boolean => running.has('device') || starting.has('device')
  const wakeWaiters = (): void => {
    if (!wantsDevice()) deviceWaiters.splice(0).forEach((wake) => wake())
  }
  /** What an end leads to must not stop the queue. */
  const orTell = (what: string, act: () => void): void => {
    try {
      act()
    } catch (error) {
      options.onTrouble?.(`${what}: ${String(error)}`)
    }
  }

  const launch = (row: RunRow, lease: Lease): void => {
    const stages = row.kind === 'demo' ? (JSON.parse(row.stages) as Record<string, number>) : undefined
    runs.change(row.id, {
      state: 'running',
      started_at: row.started_at ?? now(),
      how: null,
      reason: null,
      hint: null,
      seen: 0
    })
    let writeProblem: unknown = null
    const recorder = createRecorder({
      ...(stages !== undefined && { stages }),
      now,
      write: (batch) => {
        try {
          events.append(row.number, batch)
          const headline = JSON.stringify(recorder.headline())
          runs.change(row.id, { headline, ...(stages !== undefined && { stages: JSON.stringify(stages) }) })
        } catch (error) {
          // The run's own folder holds its record too; the job must not die of the app's disk.
          if (writeProblem === null) options.onTrouble?.(`the record of ${row.name} has gaps: ${String(error)}`)
          writeProblem ??= error
        }
      },
      changed: () => changed(row.id)
    })
    const job = startJob(
      { kind: row.kind as JobKind, ...jobOf(row) },
      {
        workerPath: options.workerPath,
        onEvent: (event) => {
          recorder.event(event)
          options.onEvent?.(row, event)
        },
        onOutput: recorder.output
      }
    )
    running.set(lease, { row, job, recorder, stops: 0 })
    options.onBusy?.(true)
    changed(null)
    void job.ended.then((outcome) => {
      recorder.flush()
      conclude(row, lease, outcome, recorder, writeProblem)
    })
  }

  const conclude = (row: RunRow, lease: Lease, outcome: Outcome, recorder: Recorder, writeProblem: unknown): void => {
    const stopped = running.get(lease)?.stops ?? 0
    running.delete(lease)
    const ending = endingOf(outcome, row, recorder, closing && stopped === 0)
    const resumable = ending.how !== 'done' && isResumable(row)
    const values = {
      state: 'ended' as const,
      how: ending.how,
      reason:
        ending.reason + (writeProblem === null ? '' : ` (some of it could not be recorded: ${String(writeProblem)})`),
      hint: ending.hint ?? (ending.how === 'done' || ending.how === 'stopped' ? null : hintFor(resumable, row.kind)),
      resumable: +resumable,
      ended_at: now(),
      result: outcome.kind === 'done' ? JSON.stringify(outcome.result ?? null) : null
    }
    const colour = ending.how === 'done' ? 32 : ending.how === 'failed' || ending.how === 'crashed' ? 31 : 33
    const text = `${ending.how}: ${values.reason}`.split('\n').map((line) => `\u001b[${colour}m${line}\u001b[39m`)
    let tries = 0
    const keep = (): void => {
      try {
        runs.change(row.id, values)
        events.append(row.number, { events: [], lines: [...linesOf(outcome), ...text] })
      } catch (error) {
        // A disk that is full now may have room later; until then the run seems to run on, and a restart closes it.
        if (tries++ === 0) options.onTrouble?.(`the end of ${row.name} could not be recorded: ${String(error)}`)
        setTimeout(keep, KEEP_AGAIN_MS).unref()
        return
      }
      changed(row.id)
      changed(null)
      const ended = runs.get(row.id)
      if (ended !== undefined) orTell(`the end of ${row.name} could not be kept whole`, () => options.onEnded?.(ended))
    }
    keep()
    if (ending.how === 'failed' && options.continueAfterFailure?.() === false && !closing)
      orTell('that the queue is paused could not be kept', () => pause(true))
    options.onBusy?.(running.size > 0)
    pump()
    wakeWaiters()
  }

  const pause = (value: boolean): void => {
    paused = value
    try {
      options.paused?.set(value)
    } finally {
      changed(null)
      pump()
    }
  }

  queueMicrotask(pump)
  return {
    add: (run) => {
      const row = runs.add(run)
      changed(run.id)
      changed(null)
      pump()
      return runs.get(row.id)!
    },
    stop: (id, when) => {
      const row = existing(id)
      const one = of(id)
      if (one !== undefined) {
        one.recorder.live.stopping = true
        if (when === 'now' && one.stops++ > 0) one.job.kill()
        else if (when === 'after_step' && !STEPPED.has(row.kind)) one.job.cancel('now')
        else one.job.cancel(when)
        if (when === 'after_step') one.stops = Math.max(one.stops, 0)
      } else if (row.state === 'queued' || row.state === 'held') {
        const reason = 'taken out of the queue before it started'
        runs.change(id, {
          state: 'ended',
          how: 'cancelled',
          reason,
          hint: null,
          resumable: +isResumable(row),
          ended_at: now()
        })
      } else if (row.state === 'ended') {
        throw new AppError('usage', `${row.name} has already ended`)
      }
      changed(id)
      changed(null)
    },
    resume: (id) => {
      const row = existing(id)
      if (row.state !== 'ended')
        throw new AppError('usage', `${row.name} has not ended`, 'Only an ended run can be continued.')
      if (row.trashed_at !== null)
        throw new AppError('usage', `${row.name} is in the trash`, 'Take it out of the trash first.')
      if (row.how === 'done')
        throw new AppError('usage', `${row.name} is finished`, 'Start it again with changes instead.')
      const place = Math.max(0, ...runs.waiting().map((other) => other.place)) + 1
      runs.change(id, { state: 'queued', resume: 1, place, ended_at: null, how: null, reason: null, hint: null })
      changed(id)
      changed(null)
      pump()
    },
    hold: (id, held) => {
      const row = existing(id)
      if (row.state !== 'queued' && row.state !== 'held')
        throw new AppError('usage', `${row.name} does not wait`, 'Only a waiting run can be held back.')
      runs.change(id, { state: held ? 'held' : 'queued' })
      changed(id)
      changed(null)
      pump()
    },
    move: (id, place) => {
      const row = existing(id)
      if (row.state !== 'queued' && row.state !== 'held')
        throw new AppError('usage', `${row.name} does not wait`, 'Only a waiting run has a place in the queue.')
      runs.move(id, place)
      changed(null)
    },
    pause,
    isPaused: () => paused,
    live: (id) => of(id)?.recorder.live ?? null,
    wantsDevice,
    onDevice: () => running.get('device')?.row ?? null,
    deviceFree: () => (wantsDevice() ? new Promise((wake) => deviceWaiters.push(wake)) : Promise.resolve()),
    close: async (patienceMs = 20_000) => {
      closing = true
      const jobs = [...running.values()]
      for (const { job } of jobs) job.cancel('now')
      const patience = setTimeout(() => jobs.forEach(({ job }) => job.kill()), patienceMs)
      await Promise.all(jobs.map(({ job }) => job.ended))
      await new Promise((turn) => setImmediate(turn)) // what follows the end was written
      clearTimeout(patience)
      deviceWaiters.splice(0).forEach((wake) => wake())
    }
  }
}

/** Jobs that hear `after_step`; the others lose little when they stop at once. */
const STEPPED: ReadonlySet<string> = new Set(['sft', 'grpo', 'demo'])
/** Jobs whose input has a `resume` flag. The demo always continues what is in its folder. */
const RESUMED: ReadonlySet<string> = new Set(['sft', 'grpo', 'evaluate'])

/** A row's input may name another folder to work in than the one its files go to (an export works in the run it exports). */
function jobOf(row: RunRow): { input: unknown; runDir: string } {
  const { input, runDir = row.folder } = JSON.parse(row.input) as { input: Record<string, unknown>; runDir?: string }
  return { input: RESUMED.has(row.kind) ? { ...input, resume: row.resume === 1 } : input, runDir }
}

type Ending = { how: NonNullable<RunRow['how']>; reason: string; hint?: string }

function endingOf(outcome: Outcome, row: RunRow, recorder: Recorder, byHost: boolean): Ending {
  switch (outcome.kind) {
    case 'done': {
      const end = row.kind === 'demo' ? null : recorder.lastEnd()
      return end === null || end.how === 'failed' || end.how === 'cancelled'
        ? { how: 'done', reason: 'finished' }
        : { how: end.how, reason: end.reason }
    }
    case 'cancelled': {
      const { step } = recorder.live
      const where = step === null ? `in phase "${recorder.live.phase}"` : `after step ${step}`
      return { how: 'cancelled', reason: `stopped ${byHost ? 'because the app was closed' : 'by you'} ${where}` }
    }
    case 'failed': {
      const { message, hint, code } = outcome.error
      return {
        how: 'failed',
        reason: code === 'internal' ? `unexpected: ${message}` : message,
        ...(hint !== undefined && { hint })
      }
    }
    case 'crashed':
      return { how: 'crashed', reason: crashReport(outcome.crash) }
  }
}

/** A result's `lines` are for reading. */
function linesOf(outcome: Outcome): readonly string[] {
  const lines = outcome.kind === 'done' ? (outcome.result as { lines?: unknown } | null)?.lines : undefined
  return Array.isArray(lines) ? lines.map(String) : []
}

const hintFor = (resumable: boolean, kind: string): string =>
  kind === 'download'
    ? resumable
      ? 'What was fetched is kept: go on from there, or put it into the trash to delete it.'
      : 'Nothing was fetched yet: going on starts it over.'
    : resumable
      ? 'Everything up to the last checkpoint is saved: resume continues from there.'
      : 'No checkpoint was written yet: resume starts it over.'

/** Something to continue from lies in the run's folder: a checkpoint, answers, a finished stage of the demo, a part of a file. */
function isResumable({ folder, kind }: RunRow): boolean {
  if (!existsSync(folder)) return false
  const names = readdirSync(folder)
  if (kind === 'demo') return names.includes('curation.json')
  if (kind === 'evaluate') return names.includes('answers.jsonl')
  if (kind === 'download') return names.length > 0
  return names.some((name) => /^checkpoint-\d+$/.test(name) && existsSync(join(folder, name, 'manifest.json')))
}
