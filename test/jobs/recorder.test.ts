import { expect, test } from 'vitest'
import type { RunEvent } from '../../src/shared/event.ts'
import { createRecorder } from '../../src/main/jobs/recorder.ts'

const step = (i: number, of = 10): RunEvent => ({ kind: 'step', step: i, of, metrics: { loss: i } })

test('remaining time follows the pace of the steps', () => {
  let now = 0
  const { live, event } = createRecorder({ write: () => undefined, changed: () => undefined, now: () => now })
  event({ kind: 'phase', name: 'training' })
  event(step(1))
  expect(live.remainingMs).toBeNull()
  now = 1000
  event(step(2))
  now = 4000
  event(step(3))
  expect(live).toMatchObject({ phase: 'training', step: 3, of: 10, remainingMs: 14_000 })
})

test('without steps it follows the progress', () => {
  let now = 0
  const { live, event } = createRecorder({ write: () => undefined, changed: () => undefined, now: () => now })
  event({ kind: 'progress', label: 'answers', done: 10, of: 100 })
  now = 1000
  event({ kind: 'progress', label: 'answers', done: 20, of: 100 })
  expect(live).toMatchObject({ progress: { label: 'answers', done: 20, of: 100 }, remainingMs: 8000 })
})

test('stages of one run count their steps on, also when it is continued', () => {
  const stages: Record<string, number> = {}
  const written: RunEvent[] = []
  const record = () =>
    createRecorder({
      write: ({ events }) => written.push(...events.map(({ event }) => event)),
      changed: () => undefined,
      stages
    })
  const first = record()
  for (const event of [
    { kind: 'phase', name: 'teaching' } as const,
    step(1, 2),
    step(2, 2),
    { kind: 'phase', name: 'sharpening' } as const,
    step(1, 3)
  ])
    first.event(event)
  first.flush()
  const second = record()
  second.event({ kind: 'phase', name: 'sharpening' })
  second.event(step(2, 3))
  second.flush()
  const steps = written.flatMap((event) => (event.kind === 'step' ? [[event.step, event.of]] : []))
  expect(steps).toEqual([[1, 2], [2, 2], [3, 5], [4, 5]]) // prettier-ignore
  expect(stages).toEqual({ teaching: 0, sharpening: 2 })
})

test('momentary events are not recorded', () => {
  const written: RunEvent[] = []
  const { event, flush } = createRecorder({
    write: ({ events }) => written.push(...events.map((one) => one.event)),
    changed: () => undefined
  })
  event({ kind: 'text', part: 'answer', text: 'x' })
  event({ kind: 'progress', label: 'a', done: 1, of: 2 })
  event({ kind: 'log', level: 'info', text: 'kept' })
  flush()
  expect(written).toEqual([{ kind: 'log', level: 'info', text: 'kept' }])
})
