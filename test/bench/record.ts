/**
 * How fast a large record is written and read: `node test/bench/record.ts [events] [metrics]`. Ten runs of so many metrics a
 * step, then the calls a run page makes when it opens. Says figures; judges nothing.
 */
import { mkdtempSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { RunEvent } from '../../src/shared/event.ts'
import { openStore } from '../../src/main/data/store/index.ts'

const events = Number(process.argv[2] ?? 1_000_000)
const RUNS = 10
const BATCH = 20
const NAMES = Array.from({ length: Number(process.argv[3] ?? 40) }, (_, i) => `metric/${i}`)

const folder = mkdtempSync(join(tmpdir(), 'record-'))
const say = (what: string, value: string): void => console.log(`${what.padEnd(52)}${value}`)
const timed = <T>(what: string, work: () => T): T => {
  const started = performance.now()
  const result = work()
  say(what, `${(performance.now() - started).toFixed(1)} ms`)
  return result
}

try {
  const store = openStore(folder)
  const perRun = Math.floor(events / RUNS)
  const numbers: number[] = []
  const started = performance.now()
  let slowest = 0
  for (let r = 0; r < RUNS; r++) {
    const { number } = store.runs.add({ id: `r${r}`, kind: 'grpo', name: `run ${r}`, input: '{}', recipe: '', folder, base: null, parent: null, created_at: r }) // prettier-ignore
    numbers.push(number)
    for (let from = 1; from <= perRun; from += BATCH) {
      const batch = Array.from({ length: Math.min(BATCH, perRun - from + 1) }, (_, i) => {
        const step = from + i
        const metrics = Object.fromEntries(NAMES.map((name, k) => [name, Math.sin(step / 300 + k) + k]))
        return { at: step, event: { kind: 'step', step, of: perRun, metrics } satisfies RunEvent }
      })
      const before = performance.now()
      store.events.append(number, { events: batch, lines: [`step ${from}`] })
      slowest = Math.max(slowest, performance.now() - before)
    }
  }
  const seconds = (performance.now() - started) / 1000
  const points = events * NAMES.length
  say(`${events.toLocaleString('en')} events of ${NAMES.length} metrics written`, `${seconds.toFixed(1)} s`)
  say('  events a second', (events / seconds).toFixed(0))
  say('  points a second', (points / seconds).toFixed(0))
  say(`  slowest batch of ${BATCH}`, `${slowest.toFixed(1)} ms`)
  store.opened.close()
  say('database', `${(statSync(join(folder, 'reasonsmith.db')).size / 2 ** 20).toFixed(0)} MiB`)

  const again = timed('opening it', () => openStore(folder))
  const run = numbers[4]!
  timed('  a run page: first 2,000 events', () => again.events.after(run, 0, 2000))
  timed('  a run page: all series at 4,000 points', () => again.events.series(run, undefined, 4000))
  timed('  a run page: all series at 800 points', () => again.events.series(run, undefined, 800))
  timed('  a run page: last 5,000 terminal lines', () =>
    again.events.terminal(run, Math.max(0, perRun / BATCH - 5000), 5000)
  )
  timed('  a run page: sample steps', () => again.events.sampleSteps(run))
  timed('  list of runs', () => again.runs.list({ offset: 0, limit: 100, search: '', trashed: false }))
  timed('  number of events', () => again.events.count())
  say('memory', `${(process.memoryUsage().rss / 2 ** 20).toFixed(0)} MiB resident, ${(process.memoryUsage().heapUsed / 2 ** 20).toFixed(0)} MiB heap`) // prettier-ignore
  again.opened.close()
} finally {
  rmSync(folder, { recursive: true, force: true })
}
