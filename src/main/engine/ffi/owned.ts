/**
 * Every native object has one owner. Owners are counted by kind, so that a test (and `doctor`) sees a leak: the garbage
 * collector does not know native memory.
 */
const alive = new Map<string, number>()

export class Owned<T> {
  readonly kind: string
  #handle: T | null
  readonly #free: (handle: T) => void

  constructor(kind: string, handle: T, free: (handle: T) => void) {
    this.kind = kind
    this.#handle = handle
    this.#free = free
    alive.set(kind, (alive.get(kind) ?? 0) + 1)
  }

  get handle(): T {
    if (this.#handle === null) throw new Error(`${this.kind} was used after it was disposed`)
    return this.#handle
  }

  /** Frees once; later calls do nothing. */
  dispose(): void {
    if (this.#handle === null) return
    this.#free(this.#handle)
    this.#handle = null
    alive.set(this.kind, alive.get(this.kind)! - 1)
  }
}

/** What a piece of work has opened so far: disposed of together, last opened first, also when opening the next thing failed. */
export class Held {
  readonly #held: { dispose(): void }[] = []

  own<T extends { dispose(): void }>(made: T): T {
    this.#held.push(made)
    return made
  }

  dispose(): void {
    for (let it = this.#held.pop(); it; it = this.#held.pop()) it.dispose()
  }
}

/** Runs `work`; when it fails, these are disposed of, first to last, before the error goes on. */
export function orDispose<T>(made: readonly { dispose(): void }[], work: () => T): T {
  try {
    return work()
  } catch (error) {
    for (const it of made) it.dispose()
    throw error
  }
}

/** What is alive now, by kind; an empty record when nothing leaks. */
export function ownedCounts(): Record<string, number> {
  return Object.fromEntries([...alive].filter(([, count]) => count > 0))
}
