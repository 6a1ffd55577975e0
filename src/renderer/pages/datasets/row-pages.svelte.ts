/** The rows of a dataset as a virtual list needs them: a length at once, the rows page by page as they come into sight. */
import type { z } from 'zod'
import type { DatasetRow } from '../../../shared/contract/datasets.ts'

export type Row = z.infer<typeof DatasetRow>

/** Asks for rows `offset` to `offset + limit`; `total` is how many there are under the same search. */
export type FetchRows = (offset: number, limit: number) => Promise<{ rows: readonly Row[]; total: number }>

/** Rows of one request. A screen shows about 20. */
export const PAGE_ROWS = 100
/** Pages that are kept: 4,000 rows. Those not seen for longest go first. */
const KEPT_PAGES = 40

export class RowPages {
  total = $state(0)
  state = $state<'loading' | 'ready' | 'failed'>('loading')
  problem = $state<unknown>(null)
  /** Grows when a page arrives: what a row's snippet depends on. */
  version = $state(0)
  #fetch: FetchRows
  #pages = new Map<number, readonly Row[]>()
  #asked = new Set<number>()
  #closed = false

  constructor(fetch: FetchRows) {
    this.#fetch = fetch
    void this.#load(0)
  }

  /** The row at an index, or null while its page is on its way. Asking is what brings it. */
  row(index: number): Row | null {
    void this.version
    const page = Math.floor(index / PAGE_ROWS)
    const rows = this.#pages.get(page)
    if (rows === undefined) {
      // After the render that asks: a state may not change while it is read.
      if (!this.#asked.has(page)) queueMicrotask(() => void this.#load(page))
      return null
    }
    return rows[index - page * PAGE_ROWS] ?? null
  }

  /** Answers that are still on their way are no longer wanted. */
  close(): void {
    this.#closed = true
  }

  retry(): void {
    this.state = 'loading'
    this.#asked.clear()
    void this.#load(0)
  }

  async #load(page: number): Promise<void> {
    if (this.#closed || this.#asked.has(page)) return
    this.#asked.add(page)
    try {
      const { rows, total } = await this.#fetch(page * PAGE_ROWS, PAGE_ROWS)
      if (this.#closed) return
      this.#pages.set(page, rows)
      this.#forgetOldest(page)
      this.total = total
      this.state = 'ready'
      this.version += 1
    } catch (error) {
      if (this.#closed) return
      this.#asked.delete(page)
      this.problem = error
      this.state = 'failed'
    }
  }

  #forgetOldest(current: number): void {
    for (const page of this.#pages.keys()) {
      if (this.#pages.size <= KEPT_PAGES) return
      if (page === current) continue
      this.#pages.delete(page)
      this.#asked.delete(page)
    }
  }
}
