/**
 * A worker that stays: short jobs are put to it one after another, and it is ended when nobody asked for a while. What takes
 * long in such a job is the process that does it, its modules and its libraries; the job itself takes a moment.
 */
import { setTimeout as pause } from 'node:timers/promises'
import { AppError } from '../../shared/errors.ts'
import type { Answered, Question, QuestionKind } from '../../shared/worker-contract.ts'
import { crashReport } from './crash-report.ts'
import { startJob } from './supervisor.ts'
import type { Outcome, RunningJob } from './supervisor.ts'

export type WarmWorkerOptions = {
  readonly workerPath: string
  /** It ends after this long without a question. */
  readonly idleMs?: number
  /** A question that nobody waits for any more may go on for this long; then the process is ended. */
  readonly stopMs?: number
  /** Asked after each answer of a process that has a GPU open: false ends it. */
  readonly mayHoldDevice?: () => boolean
}

export type WarmWorker = {
  /** Rejects with what the job refused, AppError('cancelled') once the signal fires, and the words of a crash. */
  readonly ask: (kind: QuestionKind, input: unknown, signal?: AbortSignal) => Promise<unknown>
  /**
   * Ends the process, if it has a GPU open, when the question it is at has been answered; a question that may be opening one
   * is waited for a while. Resolves when the GPU is let go of. Who waits gets another process.
   */
  readonly freeDevice: () => Promise<void>
  /** Ends the process at once; what was asked is refused. */
  readonly close: () => void
}

const IDLE_MS = 5 * 60_000
const STOP_MS = 5000
const END_MS = 10_000

type Asked = {
  readonly kind: QuestionKind
  readonly input: unknown
  readonly resolve: (result: unknown) => void
  readonly reject: (error: AppError) => void
}
/** What the process is at. `over` resolves when it is done with it, or is gone. */
type Current = {
  readonly id: number
  readonly asked: Asked
  readonly by: RunningJob
  over: Promise<void>
  end: () => void
}

export function createWarmWorker(options: WarmWorkerOptions): WarmWorker {
  const { workerPath, idleMs = IDLE_MS, stopMs = STOP_MS, mayHoldDevice = () => true } = options
  const waiting: Asked[] = []
  let worker: RunningJob | null = null
  /** Processes that were told to end and have not. */
  const leaving = new Set<RunningJob>()
  let current: Current | null = null
  let holdsDevice = false
  let idle: NodeJS.Timeout | null = null
  let ids = 0
  let closed = false

  const start = (): RunningJob => {
    const made = startJob(
      { kind: 'questions', input: {}, runDir: '' },
      { workerPath, onEvent: () => undefined, onSaid: (message) => take(message as Answered) }
    )
    holdsDevice = false
    void made.ended.then((outcome) => {
      if (worker === made) worker = null
      if (current?.by !== made) return
      current.asked.reject(endOf(outcome))
      done()
    })
    return made
  }
  const done = (): void => {
    current?.end()
    current = null
    pump()
  }
  const take = (answered: Answered): void => {
    if (current?.id !== answered.id) return
    if ('result' in answered) current.asked.resolve(answered.result)
    else current.asked.reject(refusal(answered.error))
    if (current.by === worker) holdsDevice = answered.holdsDevice
    if (current.by === worker && holdsDevice && !mayHoldDevice()) void release()
    done()
  }
  const pump = (): void => {
    if (idle !== null) clearTimeout(idle)
    idle = null
    if (current !== null) return
    const asked = waiting.shift()
    if (asked === undefined) {
      idle = setTimeout(() => void release(), idleMs).unref()
      return
    }
    worker ??= start()
    const { promise: over, resolve: end } = Promise.withResolvers<void>()
    current = { id: ++ids, asked, by: worker, over, end }
    worker.say({ k: 'ask', id: current.id, kind: asked.kind, input: asked.input } satisfies Question)
  }
  const release = async (): Promise<void> => {
    const one = worker
    if (one === null) return
    worker = null
    leaving.add(one)
    const patience = setTimeout(one.kill, END_MS)
    if (current?.by === one) await current.over
    one.cancel('now')
    await one.ended
    clearTimeout(patience)
    leaving.delete(one)
  }
  /** Nobody waits for this answer any more. */
  const forget = (asked: Asked): void => {
    asked.reject(new AppError('cancelled', 'stopped'))
    const place = waiting.indexOf(asked)
    if (place >= 0) waiting.splice(place, 1)
    if (current?.asked !== asked) return
    const { id, by, over } = current
    by.say({ k: 'stop', id } satisfies Question)
    const patience = setTimeout(by.kill, stopMs)
    void over.then(() => clearTimeout(patience))
  }

  return {
    ask: (kind, input, signal) =>
      new Promise((resolve, reject) => {
        if (closed || signal?.aborted === true) return reject(new AppError('cancelled', 'stopped'))
        const stop = (): void => forget(asked)
        const over =
          <T>(then: (value: T) => void) =>
          (value: T): void => {
            signal?.removeEventListener('abort', stop)
            then(value)
          }
        const asked: Asked = { kind, input, resolve: over(resolve), reject: over(reject) }
        signal?.addEventListener('abort', stop)
        waiting.push(asked)
        pump()
      }),
    freeDevice: async () => {
      if (current?.by === worker && !holdsDevice)
        await Promise.race([current?.over, pause(END_MS, undefined, { ref: false })])
      if (holdsDevice) await release()
      await Promise.all([...leaving].map(({ ended }) => ended))
    },
    close: () => {
      closed = true
      if (idle !== null) clearTimeout(idle)
      for (const asked of waiting.splice(0)) asked.reject(new AppError('cancelled', 'stopped'))
      for (const one of leaving) one.kill()
      worker?.kill()
    }
  }
}

const refusal = ({ code, message, hint }: Extract<Answered, { error: unknown }>['error']): AppError =>
  new AppError(code, message, hint)

/** Why a process that was asked something answered nothing. */
function endOf(outcome: Outcome): AppError {
  if (outcome.kind === 'crashed') return new AppError('internal', crashReport(outcome.crash))
  return outcome.kind === 'failed' ? refusal(outcome.error) : new AppError('cancelled', 'stopped')
}
