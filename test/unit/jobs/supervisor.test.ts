import { fork } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import type { RunEvent } from '../../../src/shared/event.ts'
import { startJob } from '../../../src/main/jobs/supervisor.ts'
import type { Outcome, RunningJob } from '../../../src/main/jobs/supervisor.ts'

const workerPath = join(import.meta.dirname, '../../fake/worker.ts')

function start(script: string, onPhase?: (job: RunningJob) => void): { job: RunningJob; events: RunEvent[] } {
  const events: RunEvent[] = []
  const job = startJob(
    { kind: 'sample', input: { model: 'm', prompt: script }, runDir: 'runs/x' },
    {
      workerPath,
      onEvent: (event) => {
        events.push(event)
        if (event.kind === 'phase') onPhase?.(job)
      }
    }
  )
  return { job, events }
}
const outcome = (script: string): Promise<Outcome> => start(script).job.ended

test('a finished job gives its events in order, without NaN and stale progress, and its result', async () => {
  const { job, events } = start('done')
  expect(await job.ended).toEqual({ kind: 'done', result: { lines: ['all done'], runDir: 'runs/x' } })
  expect(events).toEqual([
    { kind: 'phase', name: 'rollout' },
    { kind: 'step', step: 1, of: 2, metrics: { loss: 0.5 } },
    { kind: 'progress', label: 'rollout', done: 2, of: 4 }
  ])
})

test('a refusal keeps its code and hint', async () =>
  expect(await outcome('refuse')).toEqual({
    kind: 'failed',
    error: { code: 'data', message: 'train.jsonl:3: bad JSON', hint: 'mend the line' }
  }))

test('a bug keeps its stack', async () => {
  const ended = await outcome('bug')
  expect(ended).toMatchObject({ kind: 'failed', error: { code: 'internal', message: 'x is not a function' } })
  expect(ended).toHaveProperty('error.stack', expect.stringContaining('worker.ts'))
})

test('a throw outside the job function ends the job too', async () =>
  expect(await outcome('later')).toMatchObject({ kind: 'failed', error: { message: 'thrown in a timer' } }))

test('a full disk is the disk’s trouble', async () =>
  expect(await outcome('disk')).toMatchObject({
    kind: 'failed',
    error: { code: 'disk', message: 'the disk is full (write a.bin)' }
  }))

test('an abort in native code is a crash with its phase and what it printed', async () => {
  const ended = await outcome('abort')
  expect(ended).toMatchObject({ kind: 'crashed', crash: { how: 'SIGABRT', phase: 'train' } })
  expect(ended).toHaveProperty('crash.output', expect.arrayContaining(['ggml.c:123: GGML_ASSERT(ne0 == 4) failed']))
})

test('an exit without an answer is a crash', async () =>
  expect(await outcome('exit')).toMatchObject({ kind: 'crashed', crash: { how: 'exit code 3' } }))

test('a worker that cannot be found is a crash, not a hang', async () => {
  const job = startJob(
    { kind: 'doctor', input: {}, runDir: '' },
    { workerPath: '/nowhere.ts', onEvent: () => undefined }
  )
  expect(await job.ended).toMatchObject({ kind: 'crashed', crash: { phase: 'starting' } })
})

test('a job that is asked to stop stops', async () =>
  expect(await start('cancel', (job) => job.cancel()).job.ended).toEqual({ kind: 'cancelled' }))

test('a job that does not listen is killed on request', async () => {
  const { job } = start('hang', (running) => {
    running.cancel()
    running.kill()
  })
  expect(await job.ended).toEqual({ kind: 'cancelled' })
})

test('a job stuck in a native call is killed on request', async () => {
  const { job } = start('stuck', (running) => void setTimeout(running.kill, 100))
  expect(await job.ended).toEqual({ kind: 'cancelled' })
})

test('a worker whose host is gone ends by itself', async () => {
  const child = fork(workerPath, [], { stdio: ['ignore', 'ignore', 'ignore', 'ipc'] })
  child.send({ k: 'job', job: { kind: 'sample', input: { model: 'm', prompt: 'cancel' }, runDir: '' } })
  await once(child, 'message')
  child.disconnect()
  expect(await once(child, 'exit')).toEqual([1, null])
})
