/**
 * The record of runs: events as they came, metric points for charts, lines for the terminal. A batch is one transaction.
 * Points are also kept in coarser and coarser buckets of their least and greatest value, so that a chart of a run of any
 * length reads a few thousand rows. A step that is told again (a resumed run) replaces its points.
 */
import type { Metrics, RunEvent, SampleRow } from '../../../shared/event.ts'
import type { Db } from './db.ts'

export type Recorded = { readonly seq: number; readonly at: number; readonly event: RunEvent }
export type Line = { readonly metric: string; readonly step: number[]; readonly value: number[] }
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
  readonly sampleSteps: (run: number) => readonly number[]
  readonly samples: (run: number, step: number) => readonly SampleRow[]
  /** Events of one of the rare kinds, oldest first. */
  readonly rare: (run: number, kind: 'checkpoint' | 'plan' | 'end') => readonly Recorded[]
  readonly count: () => number
}

/** Steps in a bucket of each level. */
const WIDTHS = [8, 64, 512, 4096] as const
const MOST_BYTES = 4 * 2 ** 20

/** Points of an event under the names that charts use: a step's as they are, an evaluation's under `eval/`. */
const metricsOf = (event: RunEvent): Metrics | null =>
  event.kind === 'step'
    ? event.metrics
    : event.kind === 'evaluation'
      ? Object.fromEntries(Object.entries(event.metrics).map(([name, value]) => [`eval/${name}`, value]))
      : null

export function eventStore(db: Db): EventStore {
  const insertEvent = db.prepare('INSERT INTO events (run, seq, at, kind, step, body) VALUES (?, ?, ?, ?, ?, ?)')
  const insertPoint = db.prepare('INSERT OR REPLACE INTO points (run, metric, step, value) VALUES (?, ?, ?, ?)')
  const insertLine = db.prepare('INSERT INTO terminal (run, seq, line) VALUES (?, ?, ?)')
  const insertMetric = db.prepare('INSERT INTO metrics (name) VALUES (?)')
  // SQLite takes the bare column of the row that holds the minimum or maximum.
  const extremes = {
    low: db.prepare(
      'SELECT step, min(value) AS value FROM points WHERE run = ? AND metric = ? AND step >= ? AND step < ?'
    ),
    high: db.prepare(
      'SELECT step, max(value) AS value FROM points WHERE run = ? AND metric = ? AND step >= ? AND step < ?'
    )
  }
  const insertCoarse = db.prepare('INSERT OR REPLACE INTO coarse VALUES (?, ?, ?, ?, ?, ?, ?, ?)')
  const lastEvent = db.prepare('SELECT coalesce(max(seq), 0) FROM events WHERE run = ?').pluck()
  const lastLine = db.prepare('SELECT coalesce(max(seq), 0) FROM terminal WHERE run = ?').pluck()
  const lastPoint = db.prepare('SELECT max(step) FROM points WHERE run = ? AND metric = ?').pluck()
  const metricIds = new Map(
    (db.prepare('SELECT id, name FROM metrics').all() as { id: number; name: string }[]).map(({ id, name }) => [
      name,
      id
    ])
  )
  /** The step each metric of each open run was last told at, to see when a bucket is full. */
  const reached = new Map<string, number>()

  const idOf = (name: string): number => {
    const known = metricIds.get(name)
    if (known !== undefined) return known
    const id = Number(insertMetric.run(name).lastInsertRowid)
    metricIds.set(name, id)
    return id
  }
  const closeBuckets = (run: number, metric: number, from: number, to: number): void => {
    for (const width of WIDTHS) {
      const bucket = Math.floor(from / width)
      if (bucket === Math.floor(to / width)) continue
      const range = [run, metric, bucket * width, (bucket + 1) * width] as const
      const low = extremes.low.get(...range) as { step: number | null; value: number }
      if (low.step === null) continue
      const high = extremes.high.get(...range) as { step: number; value: number }
      insertCoarse.run(run, width, metric, bucket, low.step, low.value, high.step, high.value)
    }
  }
  const addPoint = (run: number, name: string, step: number, value: number): void => {
    const metric = idOf(name)
    const key = `${run}/${metric}`
    const before = reached.get(key) ?? (lastPoint.get(run, metric) as number | null)
    insertPoint.run(run, metric, step, value)
    if (before !== null && before !== step) closeBuckets(run, metric, before, step)
    reached.set(key, step)
  }

  const append = db.transaction((run: number, { events, lines }: Batch) => {
    let seq = Number(lastEvent.get(run))
    for (const { at, event } of events) {
      const step = 'step' in event ? event.step : null
      insertEvent.run(run, ++seq, at, event.kind, step, JSON.stringify(event))
      const metrics = metricsOf(event)
      if (metrics === null || step === null) continue
      for (const [name, value] of Object.entries(metrics)) if (Number.isFinite(value)) addPoint(run, name, step, value)
    }
    let place = lines.length > 0 ? Number(lastLine.get(run)) : 0
    for (const line of lines) insertLine.run(run, ++place, line)
  })

  const events = db.prepare('SELECT seq, at, body FROM events WHERE run = ? AND seq > ? ORDER BY seq LIMIT ?')
  const steps = db
    .prepare(`SELECT DISTINCT step FROM events WHERE run = ? AND kind = 'sample' AND step IS NOT NULL ORDER BY step`)
    .pluck()
  const samples = db.prepare(`SELECT seq, body FROM events WHERE run = ? AND kind = 'sample' AND step = ? ORDER BY seq`)
  const rare = db.prepare('SELECT seq, at, body FROM events WHERE run = ? AND kind = ? ORDER BY seq')
  const terminal = db.prepare('SELECT seq, line FROM terminal WHERE run = ? AND seq > ? ORDER BY seq LIMIT ?')

  return {
    append: (run, batch) => {
      try {
        append.immediate(run, batch)
      } catch (error) {
        // What was rolled back was not reached; metric names that were new are not there either.
        reached.clear()
        metricIds.clear()
        for (const { id, name } of db.prepare('SELECT id, name FROM metrics').all() as { id: number; name: string }[])
          metricIds.set(name, id)
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
    series: (run, metrics, points) => seriesOf(db, run, metrics, points),
    terminal: (run, after, limit) => {
      const rows = terminal.all(run, after, limit) as { seq: number; line: string }[]
      return { lines: rows.map(({ line }) => line), cursor: rows.at(-1)?.seq ?? after }
    },
    sampleSteps: (run) => steps.all(run) as number[],
    samples: (run, step) => lastTelling(samples.all(run, step) as { body: string }[]),
    rare: (run, kind) =>
      (rare.all(run, kind) as { seq: number; at: number; body: string }[]).map(({ seq, at, body }) => ({
        seq,
        at,
        event: JSON.parse(body) as RunEvent
      })),
    count: () => Number(db.prepare('SELECT count(*) FROM events').pluck().get())
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

/** At most about `points` points of each metric: all of them, or the least and greatest of equal stretches of steps. */
function seriesOf(db: Db, run: number, names: readonly string[] | undefined, points: number): Line[] {
  const known = db
    .prepare(
      `SELECT id, name FROM metrics WHERE EXISTS (SELECT 1 FROM points WHERE run = ? AND metric = metrics.id) ORDER BY name`
    )
    .all(run) as { id: number; name: string }[]
  const asked = names === undefined ? known : known.filter(({ name }) => names.includes(name))
  const bounds = db.prepare('SELECT min(step) AS first, max(step) AS last FROM points WHERE run = ? AND metric = ?')
  const fine = db.prepare('SELECT step, value FROM points WHERE run = ? AND metric = ? AND step >= ? ORDER BY step')
  const coarse = db.prepare(
    'SELECT bucket, low_step, low, high_step, high FROM coarse WHERE run = ? AND width = ? AND metric = ? ORDER BY bucket'
  )
  return asked.map(({ id, name }) => {
    const { first, last } = bounds.get(run, id) as { first: number; last: number }
    const stretch = Math.max(1, Math.ceil((last - first + 1) / Math.max(1, Math.floor(points / 2))))
    if (last - first < points) return plain(name, fine.iterate(run, id, first) as Iterable<Point>)
    const width = WIDTHS.findLast((candidate) => candidate <= stretch)
    const thin = thinner(first, stretch)
    let from = first
    if (width !== undefined) {
      for (const row of coarse.iterate(run, width, id) as Iterable<Bucket>) {
        thin.add(row.low_step, row.low)
        thin.add(row.high_step, row.high)
        from = (row.bucket + 1) * width
      }
    }
    for (const { step, value } of fine.iterate(run, id, from) as Iterable<Point>) thin.add(step, value)
    return { metric: name, ...thin.done() }
  })
}

type Point = { readonly step: number; readonly value: number }
type Bucket = { bucket: number; low_step: number; low: number; high_step: number; high: number }

function plain(metric: string, rows: Iterable<Point>): Line {
  const line: Line = { metric, step: [], value: [] }
  for (const { step, value } of rows) {
    line.step.push(step)
    line.value.push(value)
  }
  return line
}

/** Keeps the least and the greatest value of every stretch of steps. Points come with about growing steps. */
function thinner(
  first: number,
  stretch: number
): { add(step: number, value: number): void; done(): Omit<Line, 'metric'> } {
  const step: number[] = []
  const value: number[] = []
  let place = -1
  let low: Point | null = null
  let high: Point | null = null
  const flush = (): void => {
    if (low === null || high === null) return
    const both = low.step <= high.step ? [low, high] : [high, low]
    for (const point of low.step === high.step ? [low] : both) {
      step.push(point.step)
      value.push(point.value)
    }
    low = high = null
  }
  return {
    add: (at, it) => {
      const here = Math.floor((at - first) / stretch)
      if (here > place) flush()
      place = Math.max(place, here)
      if (low === null || it < low.value) low = { step: at, value: it }
      if (high === null || it > high.value) high = { step: at, value: it }
    },
    done: () => {
      flush()
      return { step, value }
    }
  }
}
