/**
 * The symbolic step in a process of its own: an expression that never comes to an end is killed with it, and the next
 * question starts a fresh one. One question at a time. An idle child never keeps the program alive.
 */
import { fork, type ChildProcess } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { programOf } from '../files/program.ts'
import type { Outcome, Symbolic } from '../reasoning/equality.ts'

export type EqualityProcess = {
  /** `undecided` when time ran out or the child died. */
  readonly compare: Symbolic
  /** How many children had to be killed or died of themselves. */
  readonly losses: () => number
  readonly close: () => void
}

const STARTUP_LIMIT_MS = 30000
const MEMORY_LIMIT_MIB = 512

type Reply = { id: number; outcome?: Outcome }

/** `limitMs` is per question, start-up not counted. The child starts with the first question. */
export function equalityProcess(
  options: { readonly limitMs?: number; readonly worker?: URL | string } = {}
): EqualityProcess {
  const limitMs = options.limitMs ?? 5000
  const worker = options.worker ?? programOf('symbolic-worker', import.meta.url)
  let child: ChildProcess | null = null
  let questions = 0
  let losses = 0
  let closed = false
  let last: Promise<unknown> = Promise.resolve()

  const start = (): ChildProcess => {
    const made = fork(worker instanceof URL ? fileURLToPath(worker) : worker, [], {
      execArgv: [`--max-old-space-size=${MEMORY_LIMIT_MIB}`],
      env: { ...process.env, ELECTRON_RUN_AS_NODE: '1', NODE_OPTIONS: '', NODE_NO_WARNINGS: '1' },
      stdio: ['ignore', 'ignore', 'ignore', 'ipc']
    })
    made.once('exit', () => {
      if (child === made) child = null
    })
    return made
  }
  /** Keeps the program alive only while an answer is awaited. */
  const hold = (made: ChildProcess, held: boolean): void => {
    if (held) made.ref()
    else made.unref()
    if (held) made.channel?.ref()
    else made.channel?.unref()
  }
  /** The reply with this id; null when the time is over or the child is gone, and then the child is killed. */
  const await_ = (made: ChildProcess, id: number, ms: number): Promise<Reply | null> =>
    new Promise((resolve) => {
      const settle = (reply: Reply | null): void => {
        clearTimeout(timer)
        made.off('message', hear)
        made.off('exit', gone)
        made.off('error', gone)
        if (reply === null && !closed) losses++
        if (reply === null) drop(made)
        resolve(reply)
      }
      const hear = (reply: unknown): void => {
        if ((reply as Reply).id === id) settle(reply as Reply)
      }
      const gone = (): void => settle(null)
      const timer = setTimeout(gone, ms)
      made.on('message', hear)
      made.on('exit', gone)
      made.on('error', gone)
    })
  const drop = (made: ChildProcess): void => {
    if (child === made) child = null
    made.kill('SIGKILL')
  }

  const ask = async (gold: string, answer: string): Promise<Outcome> => {
    if (closed) return 'undecided'
    let made = child
    if (!made) {
      made = child = start()
      if ((await await_(made, 0, STARTUP_LIMIT_MS)) === null) return 'undecided'
    }
    hold(made, true)
    const id = ++questions
    const reply = await_(made, id, limitMs)
    made.send({ id, gold, answer }, () => {}) // a failed send ends in `exit`
    const outcome = (await reply)?.outcome ?? 'undecided'
    if (child === made) hold(made, false)
    return outcome
  }

  return {
    compare: (gold, answer) => {
      const result = last.then(() => ask(gold, answer))
      last = result.catch(() => undefined)
      return result
    },
    losses: () => losses,
    close: () => {
      closed = true
      if (child) drop(child)
    }
  }
}
