/**
 * Metrics over the steps of a run, for charts. A short run's are read from its events; of every run they are also kept in
 * wider and wider buckets of steps, each with the least and the greatest value of every metric in it, so that a chart of a
 * run of any length reads a few thousand small rows. A step that is told again (a resumed run) counts as it was told last.
 */
import type { Metrics, RunEvent } from '../../../shared/event.ts'
import type { Db } from './db.ts'

export type Line = { readonly metric: string; readonly step: number[]; readonly value: number[] }

export type SeriesStore = {
  /** A step (or an evaluation at it) was just recorded; called inside the transaction that did. */
  readonly told: (run: number, step: number) => void
  /** A transaction was rolled back: what is remembered of it does not hold. */
  readonly forget: () => void
  /** At most about `points` points of each metric: all of them, or the least and greatest of equal stretches of steps. */
  readonly read: (run: number, metrics: readonly string[] | undefined, points: number) => readonly Line[]
}

/** Steps in a bucket of each level; each is made of eight of the one before. */
const WIDTHS = [4, 32, 256, 2048] as const

type Point = { readonly step: number; readonly value: number }
type Extremes = { readonly metric: number; readonly low: Point; readonly high: Point }

export function seriesStore(db: Db): SeriesStore {
  const inSteps = `kind IN ('step', 'evaluation')`
  const bodies = db.prepare(
    `SELECT body FROM events WHERE run = ? AND ${inSteps} AND step >= ? AND step < ? ORDER BY step, seq`
  )
  const first = db.prepare(`SELECT step FROM events WHERE run = ? AND ${inSteps} ORDER BY step LIMIT 1`).pluck()
  const last = db.prepare(`SELECT step FROM events WHERE run = ? AND ${inSteps} ORDER BY step DESC LIMIT 1`).pluck()
  const latestTwo = db.prepare(`SELECT step FROM events WHERE run = ? AND ${inSteps} ORDER BY seq DESC LIMIT 2`).pluck()
  const buckets = db.prepare(
    'SELECT bucket, body FROM coarse WHERE run = ? AND width = ? AND bucket >= ? AND bucket < ? ORDER BY bucket'
  )
  const keep = db.prepare('INSERT OR REPLACE INTO coarse (run, width, bucket, body) VALUES (?, ?, ?, ?)')
  const allMetrics = db.prepare('SELECT id, name FROM metrics')
  const addMetric = db.prepare('INSERT INTO metrics (name) VALUES (?)')

  const ids = new Map<string, number>()
  const names = new Map<number, string>()
  const learn = (): void => {
    ids.clear()
    names.clear()
    for (const { id, name } of allMetrics.all() as { id: number; name: string }[]) {
      ids.set(name, id)
      names.set(id, name)
    }
  }
  learn()
  const idOf = (name: string): number => {
    const known = ids.get(name)
    if (known !== undefined) return known
    const id = Number(addMetric.run(name).lastInsertRowid)
    ids.set(name, id)
    names.set(id, name)
    return id
  }
  /** The step each open run was last told at. */
  const reached = new Map<number, number>()

  /** The points of some steps by metric, from the events. */
  const raw = (run: number, from: number, to: number): ReadonlyMap<string, Omit<Line, 'metric'>> => {
    const lines = new Map<string, Omit<Line, 'metric'>>()
    for (const { body } of bodies.iterate(run, from, to) as Iterable<{ body: string }>) {
      const event = JSON.parse(body) as RunEvent
      if (event.kind !== 'step' && event.kind !== 'evaluation') continue
      for (const [name, value] of Object.entries(named(event))) {
        if (!Number.isFinite(value)) continue
        let line = lines.get(name)
        if (line === undefined) lines.set(name, (line = { step: [], value: [] }))
        if (line.step.at(-1) === event.step) line.value[line.value.length - 1] = value
        else {
          line.step.push(event.step)
          line.value.push(value)
        }
      }
    }
    return lines
  }
  const close = (run: number, level: number, bucket: number): void => {
    const width = WIDTHS[level]!
    const found: Extremes[] =
      level === 0
        ? [...raw(run, bucket * width, (bucket + 1) * width)].map(([name, line]) => ({
            metric: idOf(name),
            ...extremesOf(line)
          }))
        : merged(
            (buckets.all(run, WIDTHS[level - 1], bucket * 8, (bucket + 1) * 8) as { body: Buffer }[]).map(({ body }) =>
              decode(body)
            )
          )
    if (found.length > 0) keep.run(run, width, bucket, encode(found))
  }

  return {
    told: (run, step) => {
      const before = reached.get(run) ?? latestBefore(run)
      reached.set(run, step)
      if (before === undefined || before === step) return
      for (const [level, width] of WIDTHS.entries()) {
        const bucket = Math.floor(before / width)
        if (bucket === Math.floor(step / width)) return
        close(run, level, bucket)
      }
    },
    forget: () => {
      reached.clear()
      learn()
    },
    read: (run, asked, points) => {
      const [from, to] = [first.get(run), last.get(run)] as [number | undefined, number | undefined]
      if (from === undefined || to === undefined) return []
      const wanted = (name: string): boolean => asked === undefined || asked.includes(name)
      const stretch = Math.ceil((to - from + 1) / Math.max(1, Math.floor(points / 2)))
      const level = to - from < points ? -1 : WIDTHS.findLastIndex((width) => width <= stretch)
      if (to - from < points) {
        return sorted(
          [...raw(run, from, to + 1)].filter(([name]) => wanted(name)).map(([metric, line]) => ({ metric, ...line }))
        )
      }
      const thin = new Map<string, Thinner>()
      const add = (name: string, step: number, value: number): void => {
        if (!wanted(name)) return
        let one = thin.get(name)
        if (one === undefined) thin.set(name, (one = thinner(from, stretch)))
        one.add(step, value)
      }
      let rest = from
      if (level >= 0) {
        const width = WIDTHS[level]!
        for (const { bucket, body } of buckets.iterate(run, width, 0, Number.MAX_SAFE_INTEGER) as Iterable<{
          bucket: number
          body: Buffer
        }>) {
          for (const { metric, low, high } of decode(body)) {
            const name = names.get(metric)!
            const [one, two] = low.step <= high.step ? [low, high] : [high, low]
            add(name, one.step, one.value)
            if (two.step !== one.step) add(name, two.step, two.value)
          }
          rest = (bucket + 1) * width
        }
      }
      for (const [name, line] of raw(run, rest, to + 1)) line.step.forEach((step, i) => add(name, step, line.value[i]!))
      return sorted([...thin].map(([metric, one]) => ({ metric, ...one.done() })))
    }
  }

  /** Where a run was before the event that was just added: asked once, when the host meets a run again. */
  function latestBefore(run: number): number | undefined {
    const rows = latestTwo.all(run)
    return rows[1] as number | undefined
  }
}

const sorted = (lines: Line[]): Line[] => lines.sort((a, b) => (a.metric < b.metric ? -1 : 1))

/** A step's metrics by the names that charts use: as they are; an evaluation's under `eval/`. */
function named(event: Extract<RunEvent, { kind: 'step' | 'evaluation' }>): Metrics {
  if (event.kind === 'step') return event.metrics
  return Object.fromEntries(Object.entries(event.metrics).map(([name, value]) => [`eval/${name}`, value]))
}

function extremesOf({ step, value }: Omit<Line, 'metric'>): { low: Point; high: Point } {
  let [low, high] = [0, 0]
  for (let i = 1; i < value.length; i++) {
    if (value[i]! < value[low]!) low = i
    if (value[i]! > value[high]!) high = i
  }
  return { low: { step: step[low]!, value: value[low]! }, high: { step: step[high]!, value: value[high]! } }
}

function merged(parts: readonly (readonly Extremes[])[]): Extremes[] {
  const all = new Map<number, Extremes>()
  for (const one of parts.flat()) {
    const before = all.get(one.metric)
    const low = before !== undefined && before.low.value <= one.low.value ? before.low : one.low
    const high = before !== undefined && before.high.value >= one.high.value ? before.high : one.high
    all.set(one.metric, { metric: one.metric, low, high })
  }
  return [...all.values()]
}

/** Metric, step and value of the least, step and value of the greatest: 4 + 4 + 8 + 4 + 8 bytes, little-endian. */
const BYTES = 28

function encode(found: readonly Extremes[]): Buffer {
  const body = Buffer.alloc(BYTES * found.length)
  for (const [i, { metric, low, high }] of found.entries()) {
    const at = i * BYTES
    body.writeUInt32LE(metric, at)
    body.writeUInt32LE(low.step, at + 4)
    body.writeDoubleLE(low.value, at + 8)
    body.writeUInt32LE(high.step, at + 16)
    body.writeDoubleLE(high.value, at + 20)
  }
  return body
}

function decode(body: Buffer): Extremes[] {
  return Array.from({ length: body.length / BYTES }, (_, i) => {
    const at = i * BYTES
    return {
      metric: body.readUInt32LE(at),
      low: { step: body.readUInt32LE(at + 4), value: body.readDoubleLE(at + 8) },
      high: { step: body.readUInt32LE(at + 16), value: body.readDoubleLE(at + 20) }
    }
  })
}

type Thinner = { readonly add: (step: number, value: number) => void; readonly done: () => Omit<Line, 'metric'> }

/** Keeps the least and the greatest value of every stretch of steps. Points come with growing steps. */
function thinner(first: number, stretch: number): Thinner {
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
