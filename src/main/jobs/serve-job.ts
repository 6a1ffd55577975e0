/**
 * The worker's side of the wire: takes one job, runs its function, sends its events in batches and its end. Knows no
 * job by name; the entry file hands it the table.
 */
import { AppError } from '../../shared/errors.ts'
import type { RunEvent } from '../../shared/event.ts'
import { JOB_INPUTS } from '../../shared/worker-contract.ts'
import type { FromWorker, Job, JobContext, JobFunction, JobKind, ToWorker } from '../../shared/worker-contract.ts'
import { toErrorShape } from './error-shape.ts'

/** Every kind of job by how to load its function: native code is loaded by the job that needs it. */
export type JobTable = { readonly [K in JobKind]: () => Promise<JobFunction<K>> }

/** The pace of the wire: one message holds what happened meanwhile. */
const BATCH_MS = 50
/** An orphan gets this long to save its state. */
const ORPHAN_MS = 20_000

/** Serves the one job this process was made for, then exits. */
export function serveJob(table: JobTable): void {
  const stop = new AbortController()
  const afterStep = new AbortController()
  const heard = mailbox()
  // Ctrl-C is the host's to judge; it sends 'cancel'.
  process.on('SIGINT', () => undefined)
  process.on('SIGTERM', () => stop.abort())
  process.on('disconnect', () => {
    stop.abort()
    setTimeout(() => process.exit(1), ORPHAN_MS).unref()
  })
  process.on('uncaughtException', (error) => void finish({ k: 'error', error: toErrorShape(error) }))
  process.on('unhandledRejection', (error) => void finish({ k: 'error', error: toErrorShape(error) }))

  const take: { readonly [K in ToWorker['k']]: (message: Extract<ToWorker, { k: K }>) => void } = {
    cancel: ({ when = 'now' }) => (when === 'now' ? stop : afterStep).abort(),
    say: ({ message }) => heard.put(message),
    job: ({ job }) =>
      void run(table, job, { signal: stop.signal, afterStep: afterStep.signal, hear: heard.hear, say }).then(finish)
  }
  process.on('message', (message) => (take[(message as ToWorker).k] as (message: unknown) => void)(message))
}

/** Keeps what is said until the job listens. */
function mailbox(): { put: (message: unknown) => void; hear: NonNullable<JobContext['hear']> } {
  let take: ((message: unknown) => void) | null = null
  const waiting: unknown[] = []
  return {
    put: (message) => (take === null ? waiting.push(message) : take(message)),
    hear: (listener) => {
      take = listener
      for (const message of waiting.splice(0)) listener(message)
    }
  }
}

const say = (message: unknown): void => {
  if (process.connected) process.send!({ k: 'said', message } satisfies FromWorker)
}

type FromHost = Required<Pick<JobContext, 'signal' | 'afterStep' | 'hear' | 'say'>>

async function run(table: JobTable, job: Job, fromHost: FromHost): Promise<FromWorker> {
  const batch = batcher()
  try {
    const input = JOB_INPUTS[job.kind].safeParse(job.input)
    if (!input.success)
      throw new AppError('internal', `the ${job.kind} job was sent a bad input: ${input.error.message}`)
    const work = (await table[job.kind]()) as (input: unknown, context: Parameters<JobFunction<JobKind>>[1]) => unknown
    const result = await work(input.data, { emit: batch.emit, ...fromHost, runDir: job.runDir })
    return { k: 'result', result: result ?? null }
  } catch (error) {
    return { k: 'error', error: toErrorShape(error) }
  } finally {
    batch.flush()
  }
}

/** Sends the last message, waits until it is on its way, and ends the process. */
async function finish(message: FromWorker): Promise<void> {
  await new Promise<void>((sent) => {
    if (process.connected) process.send!(message, undefined, undefined, () => sent())
    else sent()
  })
  process.exit(message.k === 'result' ? 0 : 1)
}

/** Gathers events; those a crash report needs go out at once, progress keeps only its latest value. */
function batcher(): { emit: (event: RunEvent) => void; flush: () => void } {
  let waiting: RunEvent[] = []
  let timer: NodeJS.Timeout | null = null
  const flush = (): void => {
    if (timer !== null) clearTimeout(timer)
    timer = null
    if (waiting.length === 0) return
    const message: FromWorker = { k: 'events', events: waiting }
    waiting = []
    if (process.connected) process.send!(message)
  }
  const emit = (event: RunEvent): void => {
    if (event.kind === 'progress') {
      waiting = waiting.filter((other) => !(other.kind === 'progress' && other.label === event.label))
    }
    waiting.push(finite(event))
    // A long native call can keep the loop from its timers; a job that is about to enter one announces a phase.
    if (event.kind === 'phase' || event.kind === 'checkpoint' || event.kind === 'end') flush()
    else timer ??= setTimeout(flush, BATCH_MS)
  }
  return { emit, flush }
}

/** JSON turns NaN into null: a number that is none is left out of the metrics instead. */
function finite(event: RunEvent): RunEvent {
  if (event.kind !== 'step' && event.kind !== 'evaluation') return event
  const metrics = Object.fromEntries(Object.entries(event.metrics).filter(([, value]) => Number.isFinite(value)))
  return { ...event, metrics }
}
