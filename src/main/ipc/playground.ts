/**
 * Answers on the host's side: one worker keeps a base loaded and answers in turn; what it says is kept here so that any
 * page, reloaded or new, reads an answer from any place. A queued job that needs the device makes the worker let go of it.
 */
import { randomUUID } from 'node:crypto'
import { AppError } from '../../shared/errors.ts'
import type { AnswerChunk } from '../../shared/contract/play.ts'
import type { RunEvent } from '../../shared/event.ts'
import type { PlayAsk, ToPlay } from '../../shared/worker-contract.ts'
import { crashReport } from '../jobs/crash-report.ts'
import { startJob } from '../jobs/supervisor.ts'
import type { RunningJob } from '../jobs/supervisor.ts'
import type { Host } from './host.ts'

export type Playground = {
  readonly ask: (asked: Omit<PlayAsk, 'k' | 'id'>) => string
  readonly read: (id: string, after: number) => AnswerChunk
  readonly stop: (id: string) => void
}

type Told = Extract<RunEvent, { kind: 'answering' }>
type Piece = { readonly part: 'thinking' | 'answer'; text: string }
type Answer = {
  readonly ask: PlayAsk
  /** In the order in which they came. */
  readonly pieces: Piece[]
  length: number
  state: AnswerChunk['state']
  tokens: number
  first: number | null
  tokensPerSecond: number | null
  stop: string | null
  problem: string | null
}

/** A loaded base is let go of after this long without a question. */
const IDLE_MS = 5 * 60_000
/** Answers that a page can still read, oldest forgotten first. */
const KEPT = 200
const END_MS = 10_000
const OVER: ReadonlySet<AnswerChunk['state']> = new Set(['done', 'stopped', 'failed'])

export function createPlayground(host: Host): Playground {
  const answers = new Map<string, Answer>()
  let worker: RunningJob | null = null
  let idle: NodeJS.Timeout | null = null
  let closed = false

  const changed = (id: string): void => host.changes.tell(`answer/${id}`)
  const open = (): Answer[] => [...answers.values()].filter(({ state }) => !OVER.has(state))
  const finish = (answer: Answer, state: 'done' | 'stopped' | 'failed', stop: string, problem: string | null): void => {
    answer.state = state
    answer.stop = stop
    answer.problem = problem
    changed(answer.ask.id)
    host.changed('play')
  }

  const take = (event: RunEvent): void => {
    if (event.kind !== 'answering') return
    const answer = answers.get(event.id)
    if (answer === undefined || OVER.has(answer.state)) return
    grow(answer, event)
    if (event.end !== undefined) {
      answer.tokensPerSecond = event.end.tokensPerSecond ?? answer.tokensPerSecond
      const state = event.end.problem !== null ? 'failed' : event.end.stop === 'cancelled' ? 'stopped' : 'done'
      finish(answer, state, event.end.stop, event.end.problem)
    } else changed(event.id)
    rest()
  }

  const start = (): RunningJob => {
    const { device, threads } = host.settings()
    const made = startJob(
      { kind: 'play', input: threads === null ? { device } : { device, threads }, runDir: '' },
      { workerPath: host.options.workerPath, onEvent: take }
    )
    void made.ended.then((outcome) => {
      if (worker === made) worker = null
      const why =
        outcome.kind === 'crashed'
          ? crashReport(outcome.crash)
          : outcome.kind === 'failed'
            ? outcome.error.message
            : null
      if (why !== null) host.log(`play: ${why}`)
      for (const answer of open())
        if (sent.has(answer.ask.id)) finish(answer, why === null ? 'stopped' : 'failed', 'cancelled', why)
      if (open().length > 0) pump()
    })
    return made
  }

  const sent = new Set<string>()
  /** Hands waiting questions over, unless a job has the device: then they wait, and say for what. */
  const pump = (): void => {
    const waiting = open().filter(({ ask }) => !sent.has(ask.id))
    if (waiting.length === 0 || closed) return
    if (host.queue.wantsDevice()) {
      const running = host.queue.onDevice()
      for (const answer of waiting) {
        answer.problem = running === null ? null : `waits until "${running.name}" has ended or is stopped`
        changed(answer.ask.id)
      }
      void host.queue.deviceFree().then(pump)
      return
    }
    worker ??= start()
    for (const { ask } of waiting) {
      sent.add(ask.id)
      answers.get(ask.id)!.problem = null
      worker.say(ask satisfies ToPlay)
    }
    rest()
  }
  const rest = (): void => {
    if (idle !== null) clearTimeout(idle)
    idle = open().length > 0 ? null : setTimeout(() => void release(), IDLE_MS)
    idle?.unref()
  }
  const release = async (): Promise<void> => {
    const one = worker
    if (one === null) return
    worker = null
    one.cancel('now')
    const patience = setTimeout(one.kill, END_MS)
    await one.ended
    clearTimeout(patience)
  }
  host.onFreeDevice(release)
  host.onClose(() => {
    closed = true
    return release()
  })

  return {
    ask: (asked) => {
      const id = randomUUID()
      const ask: PlayAsk = { k: 'ask', id, ...asked }
      answers.set(id, {
        ask,
        pieces: [],
        length: 0,
        state: 'waiting',
        tokens: 0,
        first: null,
        tokensPerSecond: null,
        stop: null,
        problem: null
      })
      for (const old of [...answers.keys()].slice(0, -KEPT)) if (OVER.has(answers.get(old)!.state)) answers.delete(old)
      pump()
      return id
    },
    read: (id, after) => {
      const answer = answers.get(id)
      if (answer === undefined)
        throw new AppError('usage', 'this answer is no longer known', 'The app was started anew since: ask again.')
      const { state, tokens, tokensPerSecond, stop, problem } = answer
      return { ...textAfter(answer, after), cursor: answer.length, state, tokens, tokensPerSecond, stop, problem }
    },
    stop: (id) => {
      const answer = answers.get(id)
      if (answer === undefined || OVER.has(answer.state)) return
      if (sent.has(id) && worker !== null) worker.say({ k: 'stop', id } satisfies ToPlay)
      else finish(answer, 'stopped', 'cancelled', null)
    }
  }
}

function grow(answer: Answer, { state, text, tokens }: Told): void {
  answer.state = state
  answer.tokens = Math.max(answer.tokens, tokens)
  if (tokens > 0) {
    answer.first ??= performance.now()
    const seconds = (performance.now() - answer.first) / 1000
    if (seconds > 0.5) answer.tokensPerSecond = tokens / seconds
  }
  if (text === '') return
  const part = state === 'thinking' ? 'thinking' : 'answer'
  const last = answer.pieces.at(-1)
  if (last?.part === part) last.text += text
  else answer.pieces.push({ part, text })
  answer.length += text.length
}

/** What comes after so many characters, thought and answer apart. */
function textAfter({ pieces }: Answer, after: number): { thinking: string; answer: string } {
  const found = { thinking: '', answer: '' }
  let at = 0
  for (const { part, text } of pieces) {
    if (at + text.length > after) found[part] += text.slice(Math.max(0, after - at))
    at += text.length
  }
  return found
}
