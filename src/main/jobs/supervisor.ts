/**
 * Runs one job in a worker process and says how it ended. The host lives on whatever happens there: a failed
 * GGML_ASSERT, an out-of-memory kill, a hang. Knows the worker by its path and the contract only.
 */
import { fork } from 'node:child_process'
import type { ChildProcess, ForkOptions } from 'node:child_process'
import type { Readable } from 'node:stream'
import { createInterface } from 'node:readline'
import type { RunEvent } from '../../shared/event.ts'
import type { ErrorShape, FromWorker, Job, ToWorker } from '../../shared/worker-contract.ts'

export type Outcome =
  | { readonly kind: 'done'; readonly result: unknown }
  | { readonly kind: 'failed'; readonly error: ErrorShape }
  | { readonly kind: 'cancelled' }
  | { readonly kind: 'crashed'; readonly crash: Crash }

export type Crash = {
  /** The signal that ended the process, or its exit code. */
  readonly how: string
  /** The phase the job was last heard in. */
  readonly phase: string
  /** The last lines it wrote: ggml's assert message is among them. */
  readonly output: readonly string[]
}

export type RunningJob = {
  readonly ended: Promise<Outcome>
  /** Asks the job to stop, at once or after the step it is in; it saves what it can and ends by itself. */
  readonly cancel: (when?: 'now' | 'after_step') => void
  /** Tells a job that takes questions one. */
  readonly say: (message: unknown) => void
  /** Ends the process at once. */
  readonly kill: () => void
}

export type StartOptions = {
  readonly workerPath: string
  readonly onEvent: (event: RunEvent) => void
  /** What a job says that is no event. */
  readonly onSaid?: (message: unknown) => void
  /** Every line the worker's libraries print, for `--verbose`. */
  readonly onOutput?: (line: string) => void
}

/** Lines of native output kept for a crash report: an assert prints one, its backtrace some more. */
const KEPT_LINES = 60
const DRAIN_MS = 500

/** Starts a worker for one job. */
export function startJob(job: Job, { workerPath, onEvent, onSaid, onOutput }: StartOptions): RunningJob {
  // A group of its own: Ctrl-C in the terminal reaches the host only, which then asks the worker to stop.
  const child = fork(workerPath, [], {
    serialization: 'json',
    stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
    detached: true,
    windowsHide: true
  } as ForkOptions)
  const output: string[] = []
  const keep = (line: string): void => {
    output.push(line)
    if (output.length > KEPT_LINES) output.shift()
    onOutput?.(line)
  }
  readLines(child.stdout!, keep)
  readLines(child.stderr!, keep)

  let phase = 'starting'
  let stopping: 'cancel' | 'kill' | null = null
  let answer: Outcome | null = null

  const post = (message: ToWorker): void => {
    if (child.connected) child.send(message, () => undefined) // a worker that is already gone reports through 'close'
  }
  const take: { readonly [K in FromWorker['k']]: (message: Extract<FromWorker, { k: K }>) => void } = {
    events: ({ events }) => {
      for (const event of events) {
        if (event.kind === 'phase') phase = event.name
        onEvent(event)
      }
    },
    said: ({ message }) => onSaid?.(message),
    result: ({ result }) => (answer = { kind: 'done', result }),
    error: ({ error }) => (answer = error.code === 'cancelled' ? { kind: 'cancelled' } : { kind: 'failed', error })
  }

  const ended = new Promise<Outcome>((resolve) => {
    child.on('message', (message) => (take[(message as FromWorker).k] as (message: unknown) => void)(message))
    child.on('error', (error) => {
      keep(error.message)
      resolve({ kind: 'crashed', crash: { how: 'could not be started', phase, output } })
    })
    child.on('exit', (code, signal) => {
      const settle = (): void => {
        killGroup(child) // a helper process of the job does not outlive it
        if (answer !== null) resolve(answer)
        else if (stopping === 'kill') resolve({ kind: 'cancelled' })
        else resolve({ kind: 'crashed', crash: { how: signal ?? `exit code ${code}`, phase, output } })
      }
      // 'close' comes when the last output was read; a surviving helper that holds the pipe must not delay it for ever.
      const patience = setTimeout(settle, DRAIN_MS)
      child.once('close', () => {
        clearTimeout(patience)
        settle()
      })
    })
  })

  post({ k: 'job', job })
  return {
    ended,
    cancel: (when = 'now') => {
      stopping ??= 'cancel'
      post({ k: 'cancel', when })
    },
    say: (message) => post({ k: 'say', message }),
    kill: () => {
      stopping = 'kill'
      killGroup(child)
    }
  }
}

/** Ends the worker and every process it started. */
function killGroup(child: ChildProcess): void {
  if (child.pid === undefined) return
  try {
    if (process.platform === 'win32') child.kill('SIGKILL')
    else process.kill(-child.pid, 'SIGKILL')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error // nobody is left: that is the aim
  }
}

function readLines(stream: Readable, take: (line: string) => void): void {
  createInterface({ input: stream }).on('line', take)
}
