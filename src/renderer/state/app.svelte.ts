/** What every page knows of the app: one loop over `app.follow`, started once. */
import type { Machine, QueueState, RunSummary, Settings, Versions } from '../../shared/contract/types.ts'
import { api } from '../lib/api.ts'
import { connection } from '../lib/connection.svelte.ts'

/** An answer that takes this much longer than asked for means a dead connection (a laptop that slept), ms. */
const SILENCE = 12_000
const WAIT = 15_000

/** Counters that grow when something of that kind changed. Each is its own cell: a page re-asks only for what it shows. */
class VersionCells implements Versions {
  runs = $state(0)
  models = $state(0)
  datasets = $state(0)
  settings = $state(0)
  play = $state(0)
}

class AppState {
  readonly versions = new VersionCells()
  queue = $state.raw<QueueState>({ paused: false, running: [], waiting: [] })
  machine = $state.raw<Machine | undefined>(undefined)
  notices = $state.raw<readonly string[]>([])
  settings = $state.raw<Settings | undefined>(undefined)
  /** The first answer has come. */
  ready = $state(false)
  /** Ticks once a second, for `5 min ago` and running times. */
  now = $state(Date.now())

  /** The run of this id while it runs or waits. */
  live(id: string): RunSummary | undefined {
    return [...this.queue.running, ...this.queue.waiting].find((run) => run.id === id)
  }

  /** Follows the app until `signal` aborts. */
  async follow(signal: AbortSignal): Promise<void> {
    const clock = setInterval(() => (this.now = Date.now()), 1000)
    signal.addEventListener('abort', () => clearInterval(clock))
    let after = 0
    while (!signal.aborted) {
      const silence = setTimeout(() => connection.reset(), WAIT + SILENCE)
      try {
        const change = await api.app.follow({ after, waitMs: after === 0 ? 0 : WAIT }, { signal })
        after = change.cursor
        Object.assign(this.versions, change.versions)
        this.queue = change.queue
        this.machine = change.machine
        this.notices = change.notices
        this.ready = true
      } catch {
        // Lost or refused: the banner says so. From 0, since a host that was started anew counts anew.
        after = 0
        await new Promise((resolve) => setTimeout(resolve, 1000))
      } finally {
        clearTimeout(silence)
      }
    }
  }
}

export const app = new AppState()
