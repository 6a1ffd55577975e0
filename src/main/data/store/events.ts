/** The record of runs: events as they came, what charts read of them (see series.ts), lines for the terminal. */
import type { RunEvent, SampleRow } from '../../../shared/event.ts'
import type { Db } from './db.ts'
import { seriesStore } from './series.ts'
import type { Line } from './series.ts'

export type Recorded = { readonly seq: number; readonly at: number; readonly event: RunEvent }
export type Batch = {
  readonly events: readonly { readonly at: number; readonly event: RunEvent }[]
  readonly lines: readonly string[]
}

export type EventStore = {
  readonly append: (run: number, batch: Batch) => void
  /** What comes after a cursor, at most `limit` events and about `MOST_BYTES`. */
  readonly after: (run: number, seq: number, limit: number) => readonly Recorded[]
  readonly lastSeq: (run: number) => number
  readonly series: (run: number, metrics: readonly string[] | undefined, points: number) => readonly Line[]
  readonly terminal: (
    run: number,
    after: number,
    limit: number
  ) => { readonly lines: string[]; readonly cursor: number }
  /** The last lines up to a place (null: the end), oldest first; `earlier` is the place before them, 0 where none is. */
  readonly terminalTail: (
    run: number,
    upTo: number | null,
    limit: number
  ) => { readonly lines: string[]; readonly earlier: number; readonly cursor: number }
  readonly sampleSteps: (run: number) => readonly number[]
  readonly samples: (run: number, step: number) => readonly SampleRow[]
  /** Events of one of the rare kinds, oldest first. */
  readonly rare: (run: number, kind: 'checkpoint' | 'plan' | 'end') => readonly Recorded[]
  /** Of all runs; exact, and no slower for a long record. */
  readonly count: () => number
}

const MOST_BYTES = 4 * 2 ** 20
/**
 * The condition of the index `events_rare`, word by word: SQLite takes a partial index only for a question that repeats it, and
 * with `+seq` for the order it takes this one instead of reading the whole run.
 */
const RARE = `kind IN ('sample', 'checkpoint', 'plan', 'end')`

export function eventStore(db: Db): EventStore {
  const insertEvent = db.prepare('INSERT INTO events (run, seq, at, kind, step, body) VALUES (?, ?, ?, ?, ?, ?)')
  const insertLine = db.prepare('INSERT INTO terminal (run, seq, line) VALUES (?, ?, ?)')
  const lastEvent = db.prepare('SELECT coalesce(max(seq), 0) FROM events WHERE run = ?').pluck()
  const lastLine = db.prepare('SELECT coalesce(max(seq), 0) FROM terminal WHERE run = ?').pluck()
  const series = seriesStore(db)

  const append = db.transaction((run: number, { events, lines }: Batch) => {
    let seq = Number(lastEvent.get(run))
    for (const { at, event } of events) {
      const step = 'step' in event ? event.step : null
      insertEvent.run(run, ++seq, at, event.kind, step, JSON.stringify(event))
      if (step !== null && (event.kind === 'step' || event.kind === 'evaluation')) series.told(run, step)
    }
    let place = lines.length > 0 ? Number(lastLine.get(run)) : 0
    for (const line of lines) insertLine.run(run, ++place, line)
  })

  const events = db.prepare('SELECT seq, at, body FROM events WHERE run = ? AND seq > ? ORDER BY seq LIMIT ?')
  const steps = db
    .prepare(
      `SELECT DISTINCT step FROM events WHERE run = ? AND ${RARE} AND kind = 'sample' AND step IS NOT NULL ORDER BY step`
    )
    .pluck()
  const samples = db.prepare(
    `SELECT seq, body FROM events WHERE run = ? AND ${RARE} AND kind = 'sample' AND step = ? ORDER BY +seq`
  )
  const rare = db.prepare(`SELECT seq, at, body FROM events WHERE run = ? AND ${RARE} AND kind = ? ORDER BY +seq`)
  const terminal = db.prepare('SELECT seq, line FROM terminal WHERE run = ? AND seq > ? ORDER BY seq LIMIT ?')
  // Places of a run go from 1 without gaps, and go only with the run: counting would read all of them.
  const count = db
    .prepare('SELECT coalesce(sum((SELECT max(seq) FROM events WHERE run = number)), 0) FROM runs')
    .pluck()
  const tail = db.prepare('SELECT seq, line FROM terminal WHERE run = ? AND seq <= ? ORDER BY seq DESC LIMIT ?')

  return {
    append: (run, batch) => {
      try {
        append.immediate(run, batch)
      } catch (error) {
        series.forget() // what was rolled back was not reached
        throw error
      }
    },
    after: (run, seq, limit) => {
      const found: Recorded[] = []
      let bytes = 0
      for (const row of events.iterate(run, seq, limit) as IterableIterator<{
        seq: number
        at: number
        body: string
      }>) {
        found.push({ seq: row.seq, at: row.at, event: JSON.parse(row.body) as RunEvent })
        bytes += row.body.length
        if (bytes > MOST_BYTES) break
      }
      return found
    },
    lastSeq: (run) => Number(lastEvent.get(run)),
    series: series.read,
    terminal: (run, after, limit) => {
      const rows = terminal.all(run, after, limit) as { seq: number; line: string }[]
      return { lines: rows.map(({ line }) => line), cursor: rows.at(-1)?.seq ?? after }
    },
    terminalTail: (run, upTo, limit) => {
      const rows = tail.all(run, upTo ?? Number.MAX_SAFE_INTEGER, limit) as { seq: number; line: string }[]
      const [last, first] = [rows[0], rows.at(-1)]
      return {
        lines: rows.reverse().map(({ line }) => line),
        earlier: first === undefined ? 0 : first.seq - 1,
        cursor: last?.seq ?? 0
      }
    },
    sampleSteps: (run) => steps.all(run) as number[],
    samples: (run, step) => lastTelling(samples.all(run, step) as { body: string }[]),
    rare: (run, kind) =>
      (rare.all(run, kind) as { seq: number; at: number; body: string }[]).map(({ seq, at, body }) => ({
        seq,
        at,
        event: JSON.parse(body) as RunEvent
      })),
    count: () => Number(count.get())
  }
}

/** A resumed run tells the step it was stopped in again: of each task the rows told last are those that were trained on. */
function lastTelling(rows: readonly { readonly body: string }[]): readonly SampleRow[] {
  const groups = new Map<string, readonly SampleRow[]>()
  for (const { body } of rows) {
    const event = JSON.parse(body) as RunEvent
    if (event.kind !== 'sample') continue
    for (const [task, group] of Map.groupBy(event.rows, ({ taskId }) => taskId)) groups.set(task, group)
  }
  return [...groups.values()].flat()
}
