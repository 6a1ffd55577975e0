/** Who waits for something to change, by name. The host's pages follow by asking again; this wakes them. */
export type Changes = {
  /** Something under this name changed. */
  readonly tell: (name: string) => void
  /** Resolves when `name` is told next, after `ms`, or when the signal fires: whichever comes first. */
  readonly next: (name: string, ms: number, signal?: AbortSignal) => Promise<void>
  /** Wakes everybody. */
  readonly close: () => void
}

export function createChanges(): Changes {
  const waiting = new Map<string, Set<() => void>>()
  let closed = false
  return {
    tell: (name) => {
      const woken = waiting.get(name)
      waiting.delete(name)
      woken?.forEach((wake) => wake())
    },
    next: (name, ms, signal) =>
      new Promise((resolve) => {
        if (closed || ms <= 0 || signal?.aborted === true) return resolve()
        const others = waiting.get(name) ?? new Set()
        waiting.set(name, others)
        const wake = (): void => {
          clearTimeout(timer)
          others.delete(wake)
          if (others.size === 0 && waiting.get(name) === others) waiting.delete(name)
          signal?.removeEventListener('abort', wake)
          resolve()
        }
        const timer = setTimeout(wake, ms)
        signal?.addEventListener('abort', wake)
        others.add(wake)
      }),
    close: () => {
      closed = true
      for (const name of [...waiting.keys()]) {
        const woken = waiting.get(name)
        waiting.delete(name)
        woken?.forEach((wake) => wake())
      }
    }
  }
}
