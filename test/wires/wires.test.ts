/** One suite over both wires: what a page may count on is the same in a window and in a tab. */
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { MessageChannel } from 'node:worker_threads'
import { createORPCClient, isDefinedError, safe } from '@orpc/client'
import type { ORPCError } from '@orpc/client'
import { RPCLink as PortLink } from '@orpc/client/message-port'
import { RPCLink as SocketLink } from '@orpc/client/websocket'
import type { ContractRouterClient } from '@orpc/contract'
import { RPCHandler as PortHandler } from '@orpc/server/message-port'
import { describe, expect, test, vi } from 'vitest'
import { WebSocket } from 'ws'
import type { Contract } from '../../src/shared/contract/index.ts'
import { openHost } from '../../src/main/ipc/host.ts'
import type { Host } from '../../src/main/ipc/host.ts'
import { createRouter } from '../../src/main/ipc/router.ts'
import { serve } from '../../src/main/serve/server.ts'
import type { NewRun } from '../../src/main/data/store/runs.ts'
import { atEnd, newRun, workspace } from '../store/workspace.ts'

type Api = ContractRouterClient<Contract>
type Wire = { readonly host: Host; readonly api: Api; readonly cut: () => void; readonly again: () => Promise<Api> }

const workerPath = join(import.meta.dirname, '../fake/worker.ts')

/** A run that plays a script of the fake worker. */
const scripted = (script: string): NewRun => {
  const recipe = { kind: 'sft', base: 'b', train: 't', output_dir: '/nowhere', system_message: script }
  return newRun({ id: 'r', input: JSON.stringify({ input: { recipe } }) })
}

function hosted(): Host {
  const host = openHost({ workspace: workspace(), workerPath, version: '0.0.0', desktop: false })
  atEnd(host.close)
  return host
}

const WIRES: Readonly<Record<string, () => Promise<Wire>>> = {
  MessagePort: async () => {
    const host = hosted()
    const handler = new PortHandler(createRouter(host))
    let ours: MessageChannel['port1'] | null = null
    const connect = (): Promise<Api> => {
      const { port1, port2 } = new MessageChannel()
      ours = port1
      handler.upgrade(port2)
      port1.start()
      port2.start()
      return Promise.resolve(createORPCClient(new PortLink({ port: port1 })))
    }
    atEnd(() => ours?.close())
    return { host, api: await connect(), cut: () => ours?.close(), again: connect }
  },
  WebSocket: async () => {
    const host = hosted()
    const page = join(host.options.workspace, 'page')
    mkdirSync(page)
    writeFileSync(join(page, 'index.html'), '<!doctype html>')
    const served = await serve({ router: createRouter(host), page, port: 0, host: '127.0.0.1' })
    atEnd(served.close)
    const answer = await fetch(served.address, { redirect: 'manual' })
    const cookie = answer.headers.get('set-cookie')!.split(';')[0]!
    let socket: WebSocket | null = null
    const connect = (): Promise<Api> => {
      const origin = `http://127.0.0.1:${served.port}`
      socket = new WebSocket(`ws://127.0.0.1:${served.port}/rpc`, { headers: { cookie, origin } })
      return Promise.resolve(createORPCClient(new SocketLink({ websocket: socket as never })))
    }
    const api = await connect()
    return { host, api, cut: () => socket?.terminate(), again: connect }
  }
}

describe.each(Object.keys(WIRES))('over a %s', (name) => {
  const wire = WIRES[name]!

  test('a call is answered', async () => {
    const { api } = await wire()
    expect(await api.app.home({})).toMatchObject({ firstStart: true, recent: [], queue: { paused: false } })
  })

  test('a refusal brings its sentence and what to do', async () => {
    const { api } = await wire()
    const { error } = await safe(api.runs.get({ id: 'nobody' }))
    expect(isDefinedError(error)).toBe(true)
    expect(error).toMatchObject({
      code: 'REFUSED',
      data: { code: 'usage', message: 'there is no such run', hint: expect.stringContaining('list of runs') }
    })
  })

  test('a bug is told as one, without its stack; the log keeps it', async () => {
    const { api, host } = await wire()
    host.store.opened.db.exec('DROP TABLE judgements; DROP TABLE traces')
    const { error } = await safe(api.play.saved({}))
    expect(error).toMatchObject({
      code: 'REFUSED',
      data: { code: 'internal', message: expect.stringMatching(/^unexpected: /) }
    })
    expect(JSON.stringify((error as ORPCError<string, unknown>).data)).not.toContain('traces.ts')
    expect(host.logTail(50).join('\n')).toMatch(/play\.saved: .*no such table/)
  })

  test('a full disk is told as one, with what to do', async () => {
    const { api, host } = await wire()
    const { id } = host.store.runs.add(newRun({ id: 'a' }))
    const { db } = host.store.opened
    db.pragma(`max_page_count = ${String(db.pragma('page_count', { simple: true }))}`)
    const { error } = await safe(api.runs.annotate({ id, notes: 'x'.repeat(2 ** 18) }))
    expect(error).toMatchObject({
      code: 'REFUSED',
      data: { code: 'disk', message: expect.stringMatching(/^the disk is full/), hint: expect.stringContaining('room') }
    })
    expect(host.store.runs.get(id)?.notes).toBe('')
  })

  test('bad input never reaches the host', async () => {
    const { api, host } = await wire()
    const bad: unknown = { theme: 'pink' }
    await expect(api.app.changeSettings(bad as { theme: 'dark' })).rejects.toMatchObject({ code: 'BAD_REQUEST' })
    const more: unknown = { id: 'a', after: 0, more: 1 }
    await expect(api.runs.follow(more as { id: string; after: number })).rejects.toMatchObject({ code: 'BAD_REQUEST' })
    expect(host.settings().theme).toBe('system')
  })

  test('following a run: everything from the start, then what comes, then its end', async () => {
    const { api, host } = await wire()
    const row = host.queue.add(scripted('done'))
    const seen: string[] = []
    let after = 0
    for (let turns = 0; turns < 50; turns++) {
      const told = await api.runs.follow({ id: row.id, after, waitMs: 5000 })
      seen.push(...told.events.map(({ event }) => event.kind))
      expect(told.events.every(({ seq }, i) => seq === after + i + 1)).toBe(true)
      after = told.cursor
      if (told.state.kind === 'ended') break
    }
    const { events, caughtUp } = await api.runs.follow({ id: row.id, after: 0, waitMs: 0 })
    expect(events.map(({ event }) => event.kind)).toEqual(['phase', 'step'])
    expect(seen).toEqual(['phase', 'step'])
    expect(caughtUp).toBe(true)
  })

  test('waiting ends when something changes, and at the latest after waitMs', async () => {
    const { api, host } = await wire()
    const { cursor } = await api.app.follow({ after: 0, waitMs: 0 })
    const started = performance.now()
    const waiting = api.app.follow({ after: cursor, waitMs: 20_000 })
    setTimeout(() => host.changed('datasets'), 50)
    const told = await waiting
    expect(told.cursor).toBeGreaterThan(cursor)
    expect(performance.now() - started).toBeLessThan(10_000)
    const empty = await api.app.follow({ after: told.cursor, waitMs: 100 })
    expect(empty.cursor).toBe(told.cursor)
  })

  test('a page that stops waiting is let go of at once', async () => {
    const { api, host } = await wire()
    const { cursor } = await api.app.follow({ after: 0, waitMs: 0 })
    const next = vi.spyOn(host.changes, 'next')
    const stop = new AbortController()
    const waiting = api.app.follow({ after: cursor, waitMs: 25_000 }, { signal: stop.signal })
    await vi.waitFor(() => expect(next).toHaveBeenCalled())
    stop.abort()
    await expect(waiting).rejects.toThrow()
    await vi.waitFor(() => expect(next.mock.settledResults[0]?.type).toBe('fulfilled'), { timeout: 5000 })
  })

  test('after a lost connection the page goes on where it was', async () => {
    const { api, host, cut, again } = await wire()
    const row = host.queue.add(scripted('cancel'))
    const first = await api.runs.follow({ id: row.id, after: 0, waitMs: 20_000 })
    const waiting = api.runs.follow({ id: row.id, after: first.cursor + 1, waitMs: 20_000 })
    const lost = expect(waiting).rejects.toThrow()
    cut()
    await lost
    const back = await again()
    host.queue.stop(row.id, 'now')
    await vi.waitFor(
      async () =>
        expect((await back.runs.get({ id: row.id })).run.state).toMatchObject({ kind: 'ended', how: 'cancelled' }),
      { timeout: 20_000 }
    )
    expect((await back.runs.follow({ id: row.id, after: 0 })).events.map(({ event }) => event.kind)).toEqual(['phase'])
  })

  test('answers of the playground come piece by piece and can be stopped', async () => {
    const { api, host } = await wire()
    const base = join(host.options.workspace, 'base.gguf')
    const { tinyGgufHeader } = await import('../fake/gguf-header.ts')
    writeFileSync(base, tinyGgufHeader(64))
    const ask = (content: string) =>
      api.play.ask({ policy: { name: 'p', base, adapter: null }, turns: [{ role: 'user', content }] })
    const whole = async (id: string): Promise<{ text: string; state: string }> => {
      let [text, after] = ['', 0]
      for (;;) {
        const chunk = await api.play.follow({ id, after, waitMs: 10_000 })
        text += chunk.answer
        after = chunk.cursor
        if (['done', 'stopped', 'failed'].includes(chunk.state)) return { text, state: chunk.state }
      }
    }
    const { id } = await ask('hello there')
    expect(await whole(id)).toEqual({ text: 'hello there', state: 'done' })
    expect((await api.play.follow({ id, after: 6 })).answer).toBe('there')
    const long = await ask('x'.repeat(2000))
    await vi.waitFor(async () =>
      expect((await api.play.follow({ id: long.id, after: 0, waitMs: 0 })).cursor).toBeGreaterThan(2)
    )
    await api.play.stop({ id: long.id })
    expect((await whole(long.id)).state).toBe('stopped')
  })
})
