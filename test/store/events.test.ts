import { expect, test } from 'vitest'
import type { RunEvent } from '../../src/shared/event.ts'
import { eventStore } from '../../src/main/data/store/events.ts'
import { openStore } from '../../src/main/data/store/index.ts'
import type { Store } from '../../src/main/data/store/index.ts'
import { atEnd, newRun, workspace } from './workspace.ts'

function opened(): { store: Store; run: number } {
  const store = openStore(workspace())
  atEnd(store.opened.close)
  return { store, run: store.runs.add(newRun()).number }
}
const step = (i: number, metrics: Record<string, number>): { at: number; event: RunEvent } => ({
  at: i,
  event: { kind: 'step', step: i, of: 1e6, metrics }
})
const write = (store: Store, run: number, events: { at: number; event: RunEvent }[]): void =>
  store.events.append(run, { events, lines: [] })

test('events come back in order from any cursor', () => {
  const { store, run } = opened()
  for (let i = 0; i < 10; i++) write(store, run, [step(2 * i, { a: i }), step(2 * i + 1, { a: i })])
  expect(store.events.after(run, 0, 100).map(({ seq }) => seq)).toEqual(Array.from({ length: 20 }, (_, i) => i + 1))
  expect(store.events.after(run, 18, 100).map(({ event }) => event.kind === 'step' && event.step)).toEqual([18, 19])
  expect(store.events.after(run, 5, 3)).toHaveLength(3)
  expect(store.events.after(run, 20, 3)).toEqual([])
})

test('one answer stays small however large its events are', () => {
  const { store, run } = opened()
  const long = 'x'.repeat(1 << 20)
  write(
    store,
    run,
    Array.from({ length: 12 }, (_, i) => ({ at: i, event: { kind: 'log', level: 'info', text: long } as const }))
  )
  const first = store.events.after(run, 0, 2000)
  expect(first.length).toBeLessThan(8)
  const rest = store.events.after(run, first.at(-1)!.seq, 2000)
  expect(first.length + rest.length + store.events.after(run, rest.at(-1)!.seq, 2000).length).toBe(12)
})

test('a step that is told again replaces its points', () => {
  const { store, run } = opened()
  write(
    store,
    run,
    Array.from({ length: 40 }, (_, i) => step(i + 1, { loss: 1 }))
  )
  write(
    store,
    run,
    Array.from({ length: 20 }, (_, i) => step(i + 31, { loss: 2 }))
  )
  const [line] = store.events.series(run, ['loss'], 1000)
  expect(line!.step).toEqual(Array.from({ length: 50 }, (_, i) => i + 1))
  expect(line!.value).toEqual(Array.from({ length: 50 }, (_, i) => (i < 30 ? 1 : 2)))
})

test('evaluations have names of their own', () => {
  const { store, run } = opened()
  write(store, run, [
    step(1, { accuracy: 0.1 }),
    { at: 1, event: { kind: 'evaluation', step: 1, metrics: { accuracy: 0.9 } } }
  ])
  expect(store.events.series(run, undefined, 10).map(({ metric, value }) => [metric, value])).toEqual([
    ['accuracy', [0.1]],
    ['eval/accuracy', [0.9]]
  ])
})

test('a thinned series keeps every extreme that a chart of that width could show, and both ends', () => {
  const { store, run } = opened()
  const steps = 50_000
  const value = (i: number): number => (i === 31_337 ? 100 : i === 12_345 ? -100 : Math.sin(i / 500))
  for (let from = 1; from <= steps; from += 1000)
    write(
      store,
      run,
      Array.from({ length: 1000 }, (_, i) => step(from + i, { loss: value(from + i) }))
    )
  const [line] = store.events.series(run, ['loss'], 400)
  expect(line!.step.length).toBeLessThanOrEqual(420)
  expect(line!.step.length).toBeGreaterThan(200)
  expect(Math.max(...line!.value)).toBe(100)
  expect(Math.min(...line!.value)).toBe(-100)
  expect(line!.step[line!.value.indexOf(100)]).toBe(31_337)
  expect(line!.step.toSorted((a, b) => a - b)).toEqual(line!.step)
  // Against the whole, bucket by bucket: what the coarse levels kept are true values of true steps.
  for (const [i, at] of line!.step.entries()) expect(line!.value[i]).toBe(value(at))
  const stretch = Math.ceil(steps / 200)
  for (let bucket = 0; bucket * stretch < steps; bucket++) {
    const inside = Array.from({ length: stretch }, (_, i) => bucket * stretch + i + 1).filter((i) => i <= steps)
    const kept = line!.step.filter((at) => at >= inside[0]! - 8 && at <= inside.at(-1)! + 8)
    expect(kept.length).toBeGreaterThan(0)
  }
})

test('rollouts of a step that was begun twice are those that were trained on', () => {
  const { store, run } = opened()
  const sample = (taskId: string, text: string): { at: number; event: RunEvent } => ({
    at: 1,
    event: {
      kind: 'sample',
      step: 3,
      rows: [
        {
          taskId,
          prompt: 'p',
          thinking: null,
          answer: null,
          text,
          verdict: 'wrong',
          stop: 'eos',
          length: 1,
          rewards: {},
          reward: 0,
          advantage: 0
        }
      ]
    }
  })
  write(store, run, [sample('a', 'first'), sample('b', 'first')])
  write(store, run, [sample('a', 'again'), sample('b', 'again')])
  expect(store.events.sampleSteps(run)).toEqual([3])
  expect(store.events.samples(run, 3).map(({ taskId, text }) => [taskId, text])).toEqual([
    ['a', 'again'],
    ['b', 'again']
  ])
})

test('a batch that fails leaves nothing, and the next one works', () => {
  const { store, run } = opened()
  write(store, run, [step(1, { loss: 1 })])
  const bad = { at: Number.NaN, event: step(2, { 'new metric': 1 }).event }
  expect(() => write(store, run, [step(2, { 'new metric': 1 }), bad])).toThrow()
  expect(store.events.lastSeq(run)).toBe(1)
  write(store, run, [step(2, { 'new metric': 5 })])
  expect(store.events.series(run, ['new metric'], 10)[0]!.value).toEqual([5])
})

test('terminal lines have a cursor of their own', () => {
  const { store, run } = opened()
  store.events.append(run, { events: [], lines: ['a', 'b'] })
  store.events.append(run, { events: [], lines: ['c'] })
  expect(store.events.terminal(run, 0, 10)).toEqual({ lines: ['a', 'b', 'c'], cursor: 3 })
  expect(store.events.terminal(run, 2, 10)).toEqual({ lines: ['c'], cursor: 3 })
  expect(store.events.terminal(run, 3, 10)).toEqual({ lines: [], cursor: 3 })
})

test('a long terminal opens at its end; earlier lines come page by page, and what is printed next follows on', () => {
  const { store, run } = opened()
  const lines = Array.from({ length: 100_000 }, (_, i) => `line ${i + 1}`)
  store.events.append(run, { events: [], lines })
  const end = store.events.terminalTail(run, null, 3)
  expect(end).toEqual({ lines: lines.slice(-3), earlier: 99_997, cursor: 100_000 })
  expect(store.events.terminalTail(run, end.earlier, 2)).toEqual({
    lines: ['line 99996', 'line 99997'],
    earlier: 99_995,
    cursor: 99_997
  })
  expect(store.events.terminalTail(run, 2, 10)).toEqual({ lines: ['line 1', 'line 2'], earlier: 0, cursor: 2 })
  store.events.append(run, { events: [], lines: ['more'] })
  expect(store.events.terminal(run, end.cursor, 10)).toEqual({ lines: ['more'], cursor: 100_001 })
})

test('a run that printed nothing has an empty end to follow on from', () => {
  const { store, run } = opened()
  expect(store.events.terminalTail(run, null, 10)).toEqual({ lines: [], earlier: 0, cursor: 0 })
})

test('a full disk keeps what was there, refuses the batch whole, and goes on once there is room', () => {
  const { store, run } = opened()
  write(store, run, [step(1, { loss: 1 })])
  const { db } = store.opened
  db.pragma(`max_page_count = ${String(db.pragma('page_count', { simple: true }))}`)
  const long = 'x'.repeat(100_000)
  const many = [step(2, { loss: 2 }), { at: 2, event: { kind: 'log', level: 'info', text: long } as const }]
  expect(() => write(store, run, many)).toThrow(/full/)
  expect(store.events.lastSeq(run)).toBe(1)
  db.pragma('max_page_count = 1000000')
  write(store, run, many)
  expect(store.events.lastSeq(run)).toBe(3)
})

test('the number of events is exact: after a batch that was taken back, and without a run that was deleted', () => {
  const { store, run } = opened()
  expect(store.events.count()).toBe(0)
  const other = store.runs.add(newRun({ id: 'other' }))
  write(store, run, [step(1, { a: 1 }), step(2, { a: 1 })])
  write(store, other.number, [step(1, { a: 1 })])
  const broken = { at: 3, event: { ...step(3, { a: 1 }).event, kind: null } as unknown as RunEvent }
  expect(() => write(store, run, [step(3, { a: 1 }), broken])).toThrow()
  write(store, run, [step(3, { a: 2 })])
  expect(store.events.count()).toBe(4)
  store.runs.delete('other')
  expect(store.events.count()).toBe(3)
})

test('what is asked for by its kind is found by an index, however long the run', () => {
  const { store } = opened()
  const { db } = store.opened
  const asked: string[] = []
  eventStore(
    new Proxy(db, {
      get: (target, name) =>
        name === 'prepare'
          ? (sql: string) => (asked.push(sql), target.prepare(sql))
          : (Reflect.get(target, name) as (...args: unknown[]) => unknown).bind(target)
    })
  )
  // The last steps told are few, and found from the run's end.
  const byKind = asked.filter((sql) => /^SELECT .*FROM events.*kind/s.test(sql) && !sql.endsWith('seq DESC LIMIT 2'))
  expect(byKind.length).toBeGreaterThan(5)
  for (const sql of byKind) {
    const given = Array.from(sql.matchAll(/\?/g), () => 1)
    const plan = db.prepare(`EXPLAIN QUERY PLAN ${sql}`).all(...given) as { detail: string }[]
    expect([sql, plan.map(({ detail }) => detail).join()]).toEqual([
      sql,
      expect.stringMatching(/INDEX events_(rare|steps)/)
    ])
  }
})
