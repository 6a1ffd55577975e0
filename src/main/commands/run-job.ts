/** Runs a job for a command: shows its events, answers Ctrl-C, turns every end into a result or an AppError. */
import { AppError } from '../../shared/errors.ts'
import type { ErrorShape, Job } from '../../shared/worker-contract.ts'
import { crashReport } from '../jobs/crash-report.ts'
import { startJob } from '../jobs/supervisor.ts'
import type { Outcome, RunningJob } from '../jobs/supervisor.ts'
import type { Display } from './display.ts'

export type JobRequest = {
  readonly job: Job
  readonly workerPath: string
  readonly display: Display
  readonly verbose: boolean
  /** The command that continues this run, for those that can be continued. */
  readonly continueWith?: string | undefined
}

/** A worker asked to end by the system, not by a person, gets this long. */
const GRACE_MS = 10_000

/** Resolves with the job's result; rejects with what a person should read. */
export async function runJob({ job, workerPath, display, verbose, continueWith }: JobRequest): Promise<unknown> {
  const running = startJob(job, {
    workerPath,
    onEvent: display.event,
    ...(verbose ? { onOutput: display.note } : {})
  })
  const release = answerSignals(running, display)
  try {
    return conclude(await running.ended, continueWith)
  } finally {
    release()
    display.close()
  }
}

/** The first Ctrl-C asks the job to stop, the second ends it. A hang-up or SIGTERM asks, waits a little, and ends it. */
function answerSignals(running: RunningJob, display: Display): () => void {
  let asked = false
  let patience: NodeJS.Timeout | undefined
  const interrupt = (): void => {
    if (asked) return running.kill()
    asked = true
    display.note('stopping; Ctrl-C again ends it at once')
    running.cancel()
  }
  const terminate = (): void => {
    asked = true
    running.cancel()
    patience ??= setTimeout(running.kill, GRACE_MS)
  }
  process.on('SIGINT', interrupt)
  process.on('SIGTERM', terminate)
  process.on('SIGHUP', terminate)
  return () => {
    clearTimeout(patience)
    process.off('SIGINT', interrupt)
    process.off('SIGTERM', terminate)
    process.off('SIGHUP', terminate)
  }
}

function conclude(outcome: Outcome, continueWith: string | undefined): unknown {
  const hint = continueWith === undefined ? undefined : `continue with: ${continueWith}`
  switch (outcome.kind) {
    case 'done':
      return outcome.result
    case 'cancelled':
      throw new AppError('cancelled', 'stopped', hint)
    case 'crashed':
      throw new AppError('internal', crashReport(outcome.crash), hint)
    case 'failed':
      throw failure(outcome.error)
  }
}

/** A worker's error as it was; a bug keeps the stack it had there. */
function failure({ code, message, hint, stack }: ErrorShape): Error {
  if (code !== 'internal') return new AppError(code, message, hint)
  return Object.assign(new Error(message), { stack: stack ?? message })
}
