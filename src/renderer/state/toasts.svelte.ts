/** Short notes at the edge: what was done, how to take it back, what went wrong. */
import { problemOf } from '../lib/problem.ts'

export type Toast = {
  readonly id: number
  readonly text: string
  readonly hint?: string | undefined
  readonly tone: 'plain' | 'wrong'
  readonly action?: { readonly label: string; readonly run: () => Promise<unknown> | void } | undefined
}

/** Long enough to read and to reach for Undo, ms. Problems stay until they are closed. */
const STAYS = 9000

class Toasts {
  list = $state.raw<readonly Toast[]>([])
  #next = 0

  /** Says what was done; with `undo`, a button takes it back. */
  say(text: string, undo?: () => Promise<unknown> | void): void {
    this.#add({ text, tone: 'plain', action: undo && { label: 'Undo', run: undo } })
  }

  /** Says what went wrong, in the words of the refusal. A lost connection is the banner's matter. */
  problem(error: unknown): void {
    const { message, hint, lost } = problemOf(error)
    this.#add({
      text: message,
      hint: lost ? 'It is not known whether the host did this: look before you repeat it.' : hint,
      tone: 'wrong'
    })
  }

  close(id: number): void {
    this.list = this.list.filter((toast) => toast.id !== id)
  }

  #add(toast: Omit<Toast, 'id'>): void {
    const id = this.#next++
    this.list = [...this.list.slice(-3), { id, ...toast }]
    if (toast.tone === 'plain') setTimeout(() => this.close(id), STAYS)
  }
}

export const toasts = new Toasts()

/** Runs something a person asked for; says what went wrong. Answers undefined then. */
export async function attempt<T>(work: () => Promise<T>): Promise<T | undefined> {
  try {
    return await work()
  } catch (error) {
    toasts.problem(error)
    return undefined
  }
}
