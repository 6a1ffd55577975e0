import { existsSync, mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test, vi } from 'vitest'
import type { RunEvent } from '../../src/shared/event.ts'
import { openStore } from '../../src/main/data/store/index.ts'
import type { Store } from '../../src/main/data/store/index.ts'
import type { RunRow } from '../../src/main/data/store/runs.ts'
import { createQueue } from '../../src/main/jobs/queue.ts'
import type { Queue, QueueOptions } from '../../src/main/jobs/queue.ts'
import { atEnd, newRun, workspace } from '../store/workspace.ts'

const workerPath = join(import.meta.dirname, '../fake/worker.ts')

type Rig = {
  readonly store: Store
  readonly queue: Queue
  readonly events: [string, RunEvent][]
  /** A run that plays a script of the fake worker. */
  readonly add: (script: string, kind?: 'sample' | 'sft') => string
  readonly row: (id: string) => RunRow
  readonly ended: (id: string) => Promise<RunRow>
  readonly heard: (id: string, kind: RunEvent['kind']) => Promise<void>
}

function rig(options: Partial<QueueOptions> = {}, folder = workspace()): Rig {
  const store = openStore(folder)
  const events: Rig['events'] = []
  const queue = createQueue({
    workerPath,
    runs: store.runs,
    events: store.events,
    changed: () => undefined,
    onEvent: (run, event) => events.push([run.id, event]),
    ...options
  })
  atEnd(async () => {
    await queue.close(500)
    store.opened.close()
  })
  let count = 0
  const row = (id: string): RunRow => store.runs.get(id)!
  return {
    store,
    queue,
    events,
    row,
    add: (script, kind = 'sample') => {
      const id = `${script}${++count}`
      const at = join(folder, 'runs', id)
      mkdirSync(at, { recursive: true })
      const recipe = { kind: 'sft', base: 'b', train: 't', output_dir: at, system_message: script }
      const input = kind === 'sft' ? { recipe } : { model: 'm', prompt: script }
      queue.add(newRun({ id, kind, name: id, folder: at, input: JSON.stringify({ input }) }))
      return id
    },
    ended: (id) => vi.waitFor(() => (row(id).state === 'ended' ? row(id) : Promise.reject(new Error('runs'))), WAIT),
    heard: (id, kind) =>
      vi.waitFor(() => expect(events.some(([run, event]) => run === id && event.kind === kind)).toBe(true), WAIT)
  }
}
const WAIT = { timeout: 20_000, interval: 10 }

test('runs take their turn, one at a time, past one that fails and one that aborts', async () => {
  const { add, ended, row, queue, events, store } = rig()
  const ids = ['done', 'refuse', 'abort', 'killed', 'done'].map((script) => add(script))
  expect(ids.map((id) => row(id).state)).toEqual(['queued', 'queued', 'queued', 'queued', 'queued'])
  const rows = await Promise.all(ids.map(ended))
  expect(rows.map(({ how }) => how)).toEqual(['done', 'failed', 'crashed', 'crashed', 'done'])
  expect(rows[1]).toMatchObject({ reason: 'train.jsonl:3: bad JSON', hint: 'mend the line' })
  expect(rows[2]!.reason).toMatch(/ended by SIGABRT in phase "train".*\n.*before\n.*GGML_ASSERT\(ne0 == 4\) failed/s)
  expect(rows[3]!.reason).toMatch(/ended by SIGKILL in phase "train".*the last words/s)
  const order = [...new Set(events.map(([run]) => run))]
  expect(order).toEqual(ids.filter((id) => !id.startsWith('refuse')))
  for (const [i, next] of rows.slice(1).entries()) expect(next.started_at!).toBeGreaterThanOrEqual(rows[i]!.ended_at!)
  await queue.deviceFree()
  const last = store.events.after(rows[4]!.number, 0, 10).map(({ event }) => event.kind)
  expect(last).toEqual(['phase', 'step'])
})

test('the terminal holds the steps, the worker’s own output and the end, in colour', async () => {
  const { add, ended, store } = rig()
  const { number } = await ended(add('abort'))
  const { lines } = store.events.terminal(number, 0, 100)
  expect(lines[0]).toBe('\u001b[1m\u001b[36mtrain\u001b[39m\u001b[22m')
  expect(lines.some((line) => line.includes('GGML_ASSERT(ne0 == 4) failed'))).toBe(true)
  expect(lines.at(-1)).toContain('\u001b[31m')
  const run = await ended(add('steps', 'sft'))
  const text = store.events.terminal(run.number, 0, 100).lines.join('\n')
  expect(text).toMatch(/step\s+loss/)
  expect(text).toContain('12/12')
  expect(text).toContain('well done')
})

test('a run stopped after its step is saved, and goes on in its own record', async () => {
  const { add, ended, heard, queue, store, row } = rig()
  const id = add('steps', 'sft')
  await heard(id, 'step')
  queue.stop(id, 'after_step')
  const stopped = await ended(id)
  expect(stopped).toMatchObject({ how: 'cancelled', resumable: 1 })
  expect(stopped.reason).toMatch(/^stopped by you after step \d+$/)
  expect(stopped.hint).toMatch(/resume continues/)
  queue.resume(id)
  const done = await ended(id)
  expect(done).toMatchObject({ how: 'done', reason: 'trained 12 steps', started_at: stopped.started_at })
  const steps = store.events
    .after(row(id).number, 0, 100)
    .flatMap(({ event }) => (event.kind === 'step' ? [event.step] : []))
  expect(steps).toEqual(Array.from({ length: 12 }, (_, i) => i + 1))
  expect(JSON.parse(done.headline)).toEqual({ loss: 1 / 12 })
})

test('a run that does not listen is ended by a second stop', async () => {
  const { add, ended, heard, queue } = rig()
  const id = add('hang')
  await heard(id, 'phase')
  queue.stop(id, 'now')
  expect(queue.live(id)?.stopping).toBe(true)
  queue.stop(id, 'now')
  expect(await ended(id)).toMatchObject({ how: 'cancelled' })
})

test('waiting runs are moved, held back, taken out; the queue pauses', async () => {
  const { add, ended, heard, queue, store, row } = rig()
  const first = add('cancel')
  await heard(first, 'phase')
  const [a, b, c, d] = ['done', 'done', 'done', 'done'].map((script) => add(script))
  queue.move(c!, 0)
  queue.hold(a!, true)
  queue.stop(d!, 'now')
  expect(store.runs.waiting().map(({ id, state }) => [id, state])).toEqual([
    [c, 'queued'],
    [a, 'held'],
    [b, 'queued']
  ])
  expect(row(d!)).toMatchObject({
    state: 'ended',
    how: 'cancelled',
    reason: 'taken out of the queue before it started'
  })
  queue.pause(true)
  queue.stop(first, 'now')
  await ended(first)
  await new Promise((wait) => setTimeout(wait, 100))
  expect(row(c!).state).toBe('queued')
  queue.pause(false)
  const [endB, endC] = await Promise.all([ended(b!), ended(c!)])
  expect(endC.ended_at!).toBeLessThanOrEqual(endB.started_at!)
  expect(row(a!).state).toBe('held')
  queue.hold(a!, false)
  expect((await ended(a!)).how).toBe('done')
})

test('after a restart what ran has crashed and is resumable, what waited goes on', async () => {
  const folder = workspace()
  const before = openStore(folder)
  const at = join(folder, 'runs', 'was')
  mkdirSync(join(at, 'checkpoint-3'), { recursive: true })
  const { writeFileSync } = await import('node:fs')
  writeFileSync(join(at, 'checkpoint-3', 'manifest.json'), '{}')
  const recipe = { kind: 'sft', base: 'b', train: 't', output_dir: at, system_message: 'steps' }
  before.runs.add(newRun({ id: 'was', kind: 'sft', folder: at, input: JSON.stringify({ input: { recipe } }) }))
  before.runs.change('was', { state: 'running', started_at: 5 })
  before.runs.add(
    newRun({ id: 'next', kind: 'sample', folder: at, input: JSON.stringify({ input: { model: 'm', prompt: 'done' } }) })
  )
  before.opened.close()

  const { row, ended, queue, store } = rig({}, folder)
  expect(row('was')).toMatchObject({
    state: 'ended',
    how: 'crashed',
    reason: 'the app ended while this ran',
    resumable: 1
  })
  expect((await ended('next')).how).toBe('done')
  queue.resume('was')
  expect((await ended('was')).how).toBe('done')
  const first = store.events.after(row('was').number, 0, 100).find(({ event }) => event.kind === 'step')
  expect(first?.event).toMatchObject({ step: 4 })
})

test('a failure stops the queue where that is wanted', async () => {
  const { add, ended, queue, row } = rig({ continueAfterFailure: () => false })
  const [bad, next] = [add('refuse'), add('done')]
  await ended(bad)
  expect(queue.isPaused()).toBe(true)
  expect(row(next).state).toBe('queued')
})

test('closing asks what runs to save itself; it is resumable', async () => {
  const { add, heard, queue, row, store } = rig()
  const id = add('steps', 'sft')
  await heard(id, 'step')
  await queue.close()
  expect(row(id)).toMatchObject({ state: 'ended', how: 'cancelled', resumable: 1 })
  expect(row(id).reason).toContain('because the app was closed')
  expect(existsSync(row(id).folder)).toBe(true)
  expect(store.events.lastSeq(row(id).number)).toBeGreaterThan(1)
})

test('what holds the device lets go before a job starts, and the machine stays awake while one runs', async () => {
  const order: string[] = []
  const { add, ended } = rig({
    freeDevice: async () => {
      await new Promise((wait) => setTimeout(wait, 20))
      order.push('freed')
    },
    onBusy: (busy) => order.push(busy ? 'busy' : 'idle')
  })
  await ended(add('done'))
  expect(order).toEqual(['freed', 'busy', 'idle'])
})

test('a record that cannot be written does not end the job, and is told; the end is written once there is room', async () => {
  const folder = workspace()
  const told: string[] = []
  let full = true
  const store = openStore(folder)
  const queue = createQueue({
    workerPath,
    runs: store.runs,
    events: {
      ...store.events,
      append: (run, batch) => {
        if (full) throw new Error('database or disk is full')
        store.events.append(run, batch)
      }
    },
    changed: () => undefined,
    onTrouble: (what) => told.push(what)
  })
  atEnd(() => store.opened.close())
  queue.add(
    newRun({ id: 'a', kind: 'sample', folder, input: JSON.stringify({ input: { model: 'm', prompt: 'done' } }) })
  )
  await vi.waitFor(() => expect(told).toHaveLength(2), WAIT)
  expect(told[0]).toMatch(/the record of a run has gaps: .*full/)
  full = false
  await vi.waitFor(() => expect(store.runs.get('a')?.how).toBe('done'), WAIT)
  expect(store.runs.get('a')?.reason).toMatch(/^finished \(some of it could not be recorded: .*full/)
})

test('a run whose start cannot be recorded waits, is told of once, and starts once there is room', async () => {
  const folder = workspace()
  const told: string[] = []
  let full = true
  const store = openStore(folder)
  const queue = createQueue({
    workerPath,
    runs: {
      ...store.runs,
      change: (id, values) => {
        if (full && values.state === 'running') throw new Error('database or disk is full')
        store.runs.change(id, values)
      }
    },
    events: store.events,
    changed: () => undefined,
    onTrouble: (what) => told.push(what)
  })
  atEnd(() => store.opened.close())
  queue.add(newRun({ id: 'a', kind: 'sample', folder, input: '{"input":{"model":"m","prompt":"done"}}' }))
  await vi.waitFor(() => expect(told).toHaveLength(1), WAIT)
  await new Promise((wait) => setTimeout(wait, 2500)) // it was tried again meanwhile
  expect(told).toEqual([expect.stringMatching(/^a run could not be started: .*full/)])
  expect(store.runs.get('a')?.state).toBe('queued')
  full = false
  await vi.waitFor(() => expect(store.runs.get('a')?.how).toBe('done'), WAIT)
})

test('an end that nobody can be told of and a pause that cannot be kept do not stop what waits', async () => {
  const told: string[] = []
  const full = (): never => {
    throw new Error('database or disk is full')
  }
  const { add, ended, queue } = rig({
    onEnded: full,
    continueAfterFailure: () => false,
    paused: { get: () => false, set: full },
    onTrouble: (what) => told.push(what)
  })
  const [failed, next] = [add('refuse'), add('done')]
  await ended(failed!)
  await vi.waitFor(() => expect(told).toHaveLength(2), WAIT)
  expect(() => queue.pause(false)).toThrow('full')
  expect((await ended(next!)).how).toBe('done')
})

test('who waits for the device does not wait for the network, and is woken when a start comes to nothing', async () => {
  const letGo = Promise.withResolvers<void>()
  const { add, ended, heard, queue, store } = rig({ freeDevice: () => letGo.promise })
  queue.add(newRun({ id: 'net', kind: 'download', folder: workspace(), input: '{"input":{"from":"a","to":"b"}}' }))
  await heard('net', 'phase')
  const first = add('done')
  expect(queue.wantsDevice()).toBe(true)
  const free = queue.deviceFree()
  queue.stop(first, 'now')
  letGo.resolve()
  await free
  expect(queue.wantsDevice()).toBe(false)
  const second = add('done')
  await queue.deviceFree()
  expect((await ended(second)).how).toBe('done')
  expect(store.runs.get('net')?.state).toBe('running')
})

test('misuse is refused in words', async () => {
  const { add, ended, queue } = rig()
  const id = add('done')
  await ended(id)
  expect(() => queue.stop(id, 'now')).toThrow('has already ended')
  expect(() => queue.resume(id)).toThrow('is finished')
  expect(() => queue.hold(id, true)).toThrow('does not wait')
  expect(() => queue.move('nobody', 0)).toThrow('no such run')
})
