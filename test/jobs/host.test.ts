/** The host around its queue: the playground waits for the device and for nothing else; nothing starts once it closes. */
import { spawn, spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync } from 'node:fs'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { expect, test, vi } from 'vitest'
import { openHost } from '../../src/main/ipc/host.ts'
import type { Host } from '../../src/main/ipc/host.ts'
import { createPlayground } from '../../src/main/ipc/playground.ts'
import type { AnswerChunk } from '../../src/shared/contract/types.ts'
import { AnsweringSettings } from '../../src/shared/recipe.ts'
import { atEnd, newRun, workspace } from '../store/workspace.ts'

const workerPath = join(import.meta.dirname, '../fake/worker.ts')
const WAIT = { timeout: 20_000, interval: 20 }

type Rig = {
  readonly host: Host
  /** A run that plays a script of the fake worker. */
  readonly add: (id: string, kind?: string) => Promise<void>
  /** Asks the playground; the answer as it is at each moment. */
  readonly ask: (text: string) => () => AnswerChunk
}

function rig(): Rig {
  const host = openHost({ workspace: workspace(), workerPath, version: '0', desktop: false })
  atEnd(host.close)
  const playground = createPlayground(host)
  return {
    host,
    add: async (id, kind = 'sample') => {
      const folder = host.at('runs', id)
      mkdirSync(folder)
      const input = kind === 'download' ? { from: 'a', to: 'b' } : { model: 'm', prompt: 'cancel' }
      host.queue.add(newRun({ id, kind, name: id, folder, input: JSON.stringify({ input }) }))
      await vi.waitFor(() => expect(host.queue.live(id)?.phase).toBe('train'), WAIT)
    },
    ask: (content) => {
      const id = playground.ask({
        base: 'b',
        adapter: null,
        turns: [{ role: 'user', content }],
        sampling: AnsweringSettings.parse({}),
        maxTokens: 8,
        seed: 1
      })
      return () => playground.read(id, 0)
    }
  }
}

test('what a killed export left half written goes at the next start, and when its worker dies; all else stays', async () => {
  const folder = workspace()
  const dead = spawnSync(process.execPath, ['-e', '']).pid
  const alive = spawn(process.execPath, ['-e', 'setInterval(() => 0, 1000)'])
  atEnd(() => alive.kill('SIGKILL'))
  const open = (): Host => openHost({ workspace: folder, workerPath, version: '0', desktop: false })
  const host = open()
  const made = (...names: string[]): string => {
    const path = host.at('exports', ...names)
    mkdirSync(join(path, 'peft'), { recursive: true })
    return path
  }
  const left = made(`e1.${hostname()}.${dead}.partial`)
  const others = [
    made(`e1.${hostname()}.${alive.pid}.partial`), // still at it
    made(`e1.elsewhere.${dead}.partial`), // on another machine
    made(`e1.${hostname()}.mine.partial`),
    made(`e2.${hostname()}.${dead}.partial`), // of an export that is not known to have died
    made('e1')
  ]
  host.store.runs.add(newRun({ id: 'e1', kind: 'export', folder: host.at('exports', 'e1') }))
  host.store.runs.change('e1', { state: 'running' }) // as a killed host leaves it
  await host.close()

  const next = open()
  atEnd(next.close)
  expect([left, ...others].map((path) => existsSync(path))).toEqual([false, true, true, true, true, true])

  const again = made(`e3.${hostname()}.${dead}.partial`)
  const input = JSON.stringify({ input: { to: next.at('exports', 'e3') } })
  next.queue.add(newRun({ id: 'e3', kind: 'export', folder: next.at('exports', 'e3'), input }))
  await vi.waitFor(() => expect(next.store.runs.get('e3')?.how).toBe('crashed'), WAIT)
  await vi.waitFor(() => expect(existsSync(again)).toBe(false), WAIT)
  expect(readdirSync(next.at('exports')).filter((name) => name.startsWith('e3'))).toEqual([])
})

test('a question waits for the run that has the device, not for a download beside it', async () => {
  const { host, add, ask } = rig()
  await add('a model', 'download')
  await add('a training')
  const asked = ask('hi')
  expect(asked()).toMatchObject({ state: 'waiting', problem: expect.stringContaining('"a training"') })
  host.queue.stop('a training', 'now')
  await vi.waitFor(() => expect(asked()).toMatchObject({ state: 'done', answer: 'hi' }), WAIT)
  expect(host.store.runs.get('a model')?.state).toBe('running')
})

test('a question that waits when the host closes starts no process any more, and a new one is refused', async () => {
  const { host, add, ask } = rig()
  await add('a training')
  const asked = ask('hi')
  await host.close()
  const late = host.ask('tokens', { base: 'b', file: 'pid', use: 'traces', rows: { index: 0 } })
  await expect(late).rejects.toMatchObject({ code: 'cancelled' })
  await expect(host.ask('report', {})).rejects.toMatchObject({ code: 'cancelled' })
  await pause(2000)
  expect(asked().state).toBe('waiting')
})
