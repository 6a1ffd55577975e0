/** A worker that stays, at its worst: it dies, hangs, holds a GPU that is needed, is asked for what nobody waits for. */
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { expect, test, vi } from 'vitest'
import { createWarmWorker } from '../../src/main/jobs/warm-worker.ts'
import type { WarmWorker, WarmWorkerOptions } from '../../src/main/jobs/warm-worker.ts'
import { atEnd } from '../store/workspace.ts'

const workerPath = join(import.meta.dirname, '../fake/worker.ts')
const WAIT = { timeout: 20_000, interval: 20 }

type Rig = {
  readonly warm: WarmWorker
  readonly ask: (script: string, base?: string, stop?: AbortSignal) => Promise<number>
}

function rig(options: Partial<WarmWorkerOptions> = {}): Rig {
  const warm = createWarmWorker({ workerPath, ...options })
  atEnd(warm.close)
  const ask: Rig['ask'] = async (file, base = 'b', stop) => {
    const answer = await warm.ask('tokens', { base, file, use: 'traces', rows: { index: 0 } }, stop)
    return (answer as { pid: number }).pid
  }
  return { warm, ask }
}
const lives = (pid: number): boolean => {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}

test('one process answers one question after another, those that came together too', async () => {
  const { ask } = rig()
  const first = await ask('pid')
  expect(new Set([first, ...(await Promise.all([ask('slow'), ask('pid'), ask('pid')]))]).size).toBe(1)
})

test('a refusal keeps its words, and the process its place', async () => {
  const { ask } = rig()
  const pid = await ask('pid')
  await expect(ask('refuse')).rejects.toMatchObject({
    code: 'data',
    message: 'row 3 is no trace',
    hint: 'mend the row'
  })
  expect(await ask('pid')).toBe(pid)
})

test('one that dies says how; who asked after it is answered by a new one', async () => {
  const { ask } = rig()
  const pid = await ask('pid')
  const died = ask('abort')
  const behind = ask('pid')
  await expect(died).rejects.toThrow(/ended by SIGABRT.*GGML_ASSERT\(ok\) failed/s)
  expect(await behind).not.toBe(pid)
})

test('one that nobody asks for a while is ended; the next question starts another', async () => {
  const { ask } = rig({ idleMs: 100 })
  const pid = await ask('pid')
  await vi.waitFor(() => expect(lives(pid)).toBe(false), WAIT)
  expect(await ask('pid')).not.toBe(pid)
})

test('what nobody waits for any more ends, or its process does', async () => {
  const { ask } = rig({ stopMs: 300 })
  const pid = await ask('pid')
  const stop = new AbortController()
  const [at, behind, ahead] = [ask('until stopped', 'b', stop.signal), ask('hang', 'b', stop.signal), ask('pid')]
  await pause(50)
  stop.abort()
  for (const one of [at, behind]) await expect(one).rejects.toMatchObject({ code: 'cancelled' })
  expect(await ahead).toBe(pid) // one that listens keeps its process
  const hangs = new AbortController()
  const hung = ask('hang', 'b', hangs.signal)
  await pause(50)
  hangs.abort()
  await expect(hung).rejects.toMatchObject({ code: 'cancelled' })
  expect(await ask('pid')).not.toBe(pid)
})

test('a process with a GPU open lets go of it when a job needs the device; one without stays', async () => {
  const { ask, warm } = rig()
  const plain = await ask('pid')
  await warm.freeDevice()
  expect(await ask('pid')).toBe(plain)
  expect(await ask('pid', 'gpu')).toBe(plain)
  const asked = ask('slow')
  await warm.freeDevice()
  expect(await asked).toBe(plain)
  expect(lives(plain)).toBe(false)
  expect(await ask('pid')).not.toBe(plain)
})

test('a job that needs the device waits for a question that may be opening it, and for a process that is letting go', async () => {
  const { ask, warm } = rig()
  const pid = await ask('pid')
  const opens = ask('slow', 'gpu')
  await pause(20)
  await warm.freeDevice()
  expect(lives(pid)).toBe(false)
  expect(await opens).toBe(pid)
  const again = await ask('pid', 'gpu')
  const both = [warm.freeDevice(), warm.freeDevice().then(() => lives(again))]
  expect((await Promise.all(both))[1]).toBe(false)
})

test('a process that lets go while it hangs ends with its host', async () => {
  const { ask, warm } = rig()
  const pid = await ask('pid', 'gpu')
  const hangs = expect(ask('hang')).rejects.toMatchObject({ code: 'cancelled' })
  void warm.freeDevice()
  await pause(50)
  warm.close()
  const from = performance.now()
  await hangs
  expect(lives(pid)).toBe(false)
  expect(performance.now() - from).toBeLessThan(5000) // it is not waited for
})

test('while a job has the device, a process that opened a GPU ends after its answer', async () => {
  const { ask } = rig({ mayHoldDevice: () => false })
  const pid = await ask('pid', 'gpu')
  await vi.waitFor(() => expect(lives(pid)).toBe(false), WAIT)
})

test('a host that closes ends it and refuses what was asked', async () => {
  const { ask, warm } = rig()
  const pid = await ask('pid')
  const [at, behind] = [ask('hang'), ask('pid')]
  const ends = [at, behind].map((one) => expect(one).rejects.toMatchObject({ code: 'cancelled' }))
  warm.close()
  await Promise.all(ends)
  await vi.waitFor(() => expect(lives(pid)).toBe(false), WAIT)
  await expect(ask('pid')).rejects.toMatchObject({ code: 'cancelled' })
})
