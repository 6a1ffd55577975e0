/**
 * Downloads through node-llama-cpp's own downloader, from a server on this machine that answers ranges, breaks connections,
 * stalls, and speaks for Hugging Face.
 */
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { dirname, join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { afterEach, expect, test } from 'vitest'
import type { RunEvent } from '../../src/shared/event.ts'
import { download } from '../../src/main/data/models/download.ts'
import { tinyGgufHeader } from '../fake/gguf-header.ts'
import { atEnd, workspace } from '../store/workspace.ts'

const MIB = 2 ** 20
/** More than three of the downloader's pieces of 5 MiB, and no whole number of them. */
const FILE = Buffer.alloc(17 * MIB + 12_345)
for (let i = 0; i + 4 <= FILE.length; i += 4) FILE.writeUInt32LE(Math.imul(i, 2_654_435_761) >>> 0, i)
FILE.set(tinyGgufHeader(64))
const SUM = createHash('sha256').update(FILE).digest('hex')

type Serving = {
  readonly origin: string
  /** Bytes of bodies that were sent. */
  sent: () => number
  /** Answers in place of the usual one; true when it did. */
  first: (request: IncomingMessage, response: ServerResponse) => boolean
  /** After so many bytes of a body the connection is cut, as often as `cuts` says. */
  cutAfter: number
  cuts: number
  /** Milliseconds between two pieces of 256 KiB. */
  paceMs: number
  /** Of what lies behind the beginning of the file no more than 1 MiB comes. */
  stalls: boolean
}

async function serving(): Promise<Serving> {
  let sent = 0
  const made: Serving = {
    origin: '',
    sent: () => sent,
    first: () => false,
    cutAfter: Infinity,
    cuts: 0,
    paceMs: 0,
    stalls: false
  }
  const server = createServer((request, response) => {
    if (made.first(request, response)) return
    void (async () => {
      const range = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? '')
      const [from, to] = range === null ? [0, FILE.length - 1] : [Number(range[1]), Number(range[2])]
      response.writeHead(range === null ? 200 : 206, {
        'accept-ranges': 'bytes',
        'content-length': to - from + 1,
        ...(range !== null && { 'content-range': `bytes ${from}-${to}/${FILE.length}` })
      })
      if (request.method === 'HEAD') return response.end()
      let gone = 0
      for (let at = from; at <= to && !response.destroyed; at += 256 * 1024) {
        const piece = FILE.subarray(at, Math.min(to + 1, at + 256 * 1024))
        // The first question about the size is asked with GET and its body is never read: ranges are what is fetched.
        if (range !== null && gone >= made.cutAfter && made.cuts > 0) {
          made.cuts--
          return response.destroy()
        }
        if (!response.write(piece))
          await Promise.race([new Promise((more) => response.once('drain', more)), pause(2000)])
        gone += piece.length
        if (range !== null) sent += piece.length
        if (made.stalls && from > 0 && gone >= MIB) return
        if (made.paceMs > 0) await pause(made.paceMs)
      }
      return response.end()
    })()
  })
  await new Promise<void>((up) => server.listen(0, '127.0.0.1', up))
  atEnd(() => {
    server.closeAllConnections()
    server.close()
  })
  return Object.assign(made, { origin: `http://127.0.0.1:${(server.address() as AddressInfo).port}` })
}

/** Where nobody listens. */
async function closedPort(): Promise<number> {
  const server = createServer()
  await new Promise<void>((up) => server.listen(0, '127.0.0.1', up))
  const { port } = server.address() as AddressInfo
  await new Promise((down) => server.close(down))
  return port
}

const before = { ...process.env }
afterEach(() => {
  for (const name of ['MODEL_ENDPOINT', 'HF_ENDPOINT', 'HF_TOKEN'])
    if (before[name] === undefined) delete process.env[name]
    else process.env[name] = before[name]
})

type Rig = {
  readonly to: string
  readonly runDir: string
  readonly events: RunEvent[]
  readonly fetch: (from: string, signal?: AbortSignal, stallMs?: number) => Promise<{ file: string; lines: string[] }>
}
function rig(): Rig {
  const folder = workspace()
  const [to, runDir] = [join(folder, 'models'), join(folder, 'run')]
  for (const one of [to, runDir]) mkdirSync(one)
  const events: RunEvent[] = []
  const fetch: Rig['fetch'] = async (from, signal = new AbortController().signal, stallMs = 20_000) => {
    const context = { emit: (event: RunEvent) => void events.push(event), signal, runDir }
    return (await download({ from, to }, context, stallMs)) as { file: string; lines: string[] }
  }
  return { to, runDir, events, fetch }
}
const progressOf = (events: readonly RunEvent[]): number[] =>
  events.flatMap((event) => (event.kind === 'progress' ? [event.done] : []))

test('a file comes whole, with its progress, and only then lies among the models', async () => {
  const server = await serving()
  const { to, runDir, events, fetch } = rig()
  const { file, lines } = await fetch(`${server.origin}/small.gguf`)
  expect(file).toBe(join(to, 'small.gguf'))
  expect(readFileSync(file).equals(FILE)).toBe(true)
  expect(readdirSync(runDir)).toEqual([])
  expect(lines.join('\n')).toContain(`its source tells no checksum; SHA-256 ${SUM}`)
  expect(events.flatMap((event) => (event.kind === 'phase' ? [event.name] : []))).toEqual([
    'asking',
    'downloading',
    'checking'
  ])
  const progress = progressOf(events)
  expect([...progress].sort((a, b) => a - b)).toEqual(progress)
  expect(progress.at(-1)).toBe(17)
  await expect(fetch(`${server.origin}/small.gguf`)).rejects.toThrow(`small.gguf is in ${to} already`)
})

test('a connection that breaks again and again is taken up where it broke', async () => {
  const server = await serving()
  Object.assign(server, { cutAfter: 4 * MIB, cuts: 4 })
  const { fetch } = rig()
  const { file } = await fetch(`${server.origin}/small.gguf`)
  expect(server.cuts).toBe(0)
  expect(readFileSync(file).equals(FILE)).toBe(true)
})

test('stopped, it keeps what came; the next start asks for the rest only', async () => {
  const server = await serving()
  server.paceMs = 20
  const { to, runDir, events, fetch } = rig()
  const stop = new AbortController()
  const running = fetch(`${server.origin}/small.gguf`, stop.signal)
  const refused = expect(running).rejects.toMatchObject({ code: 'cancelled' })
  // A piece of 5 MiB is kept once it is whole.
  while (!existsSync(join(runDir, 'small.gguf.ipull'))) await pause(20)
  stop.abort()
  await refused
  expect(readdirSync(runDir)).toEqual(['small.gguf.ipull'])
  expect(readdirSync(to)).toEqual([])
  await pause(200) // what is on its way to nobody
  const sentBefore = server.sent()
  server.paceMs = 0
  const { file } = await fetch(`${server.origin}/small.gguf`)
  expect(readFileSync(file).equals(FILE)).toBe(true)
  expect(server.sent() - sentBefore).toBeLessThan(FILE.length - 4 * MIB)
  const said = events.flatMap((event) => (event.kind === 'log' ? [event.text] : [])).at(-1)
  expect(said).toMatch(/, (5|10|15) MiB of them are here already$/)
})

test('where nothing comes any more it ends in a sentence, and goes on later', async () => {
  const server = await serving()
  server.stalls = true
  const { runDir, fetch } = rig()
  await expect(fetch(`${server.origin}/small.gguf`, undefined, 1500)).rejects.toMatchObject({
    code: 'model',
    message: expect.stringMatching(/^nothing came from 127\.0\.0\.1:\d+ for 2 s; what was fetched is kept$/),
    hint: 'Go on when the connection is back.'
  })
  expect(readdirSync(runDir)).toEqual(['small.gguf.ipull'])
  server.stalls = false
  expect(readFileSync((await fetch(`${server.origin}/small.gguf`)).file).equals(FILE)).toBe(true)
})

test('a checksum in the address must be that of the file, or the file goes', async () => {
  const server = await serving()
  const { to, runDir, fetch } = rig()
  const wrong = 'ab'.repeat(32)
  await expect(fetch(`${server.origin}/small.gguf#sha256=${wrong}`)).rejects.toMatchObject({
    code: 'model',
    message: `small.gguf is not what it should be: its SHA-256 is ${SUM}, it should be ${wrong}; it was deleted`
  })
  expect([readdirSync(runDir), readdirSync(to)]).toEqual([[], []])
  const { lines } = await fetch(`${server.origin}/small.gguf#sha256=${SUM.toUpperCase()}`)
  expect(lines.join('\n')).toContain(`its checksum is as it should be: SHA-256 ${SUM}`)
})

test('Hugging Face: a name is resolved, and the checksum it keeps is compared', async () => {
  const server = await serving()
  process.env['HF_ENDPOINT'] = server.origin
  process.env['HF_TOKEN'] = ''
  let sum = SUM
  server.first = ({ url = '' }, response) => {
    if (url.startsWith('/v2/owner/tiny-GGUF/manifests/Q4_K_M')) {
      response.end(JSON.stringify({ ggufFile: { rfilename: 'tiny-q4_k_m.gguf' } }))
      return true
    }
    if (!url.startsWith('/owner/tiny-GGUF/resolve/main/tiny-q4_k_m.gguf')) return false
    response.writeHead(302, { 'x-linked-etag': `"${sum}"`, location: '/store/blob?signed=1' }).end()
    return true
  }
  const { fetch, to } = rig()
  sum = 'cd'.repeat(32)
  await expect(fetch('owner/tiny-GGUF:Q4_K_M')).rejects.toThrow(/is not what it should be/)
  expect(readdirSync(to)).toEqual([])
  sum = SUM
  const { file, lines } = await fetch('owner/tiny-GGUF:Q4_K_M')
  expect(readFileSync(file).equals(FILE)).toBe(true)
  expect(lines.join('\n')).toContain('its checksum is as it should be')
})

test('no network, no server, no file, no model, no protection: each in a sentence', async () => {
  const server = await serving()
  const { fetch, to, runDir } = rig()
  const closed = await closedPort()
  await expect(fetch(`https://127.0.0.1:${closed}/x.gguf`)).rejects.toMatchObject({
    code: 'model',
    message: `127.0.0.1:${closed} cannot be reached: it refuses the connection`,
    hint: expect.stringContaining('online')
  })
  process.env['HF_ENDPOINT'] = `http://127.0.0.1:${closed}/`
  await expect(fetch('owner/name:Q4_K_M')).rejects.toThrow(`127.0.0.1:${closed} cannot be reached: it refuses`)
  await expect(fetch('https://nowhere.invalid/x.gguf')).rejects.toThrow(
    /^nowhere\.invalid cannot be reached: its name (is not known|cannot be looked up now)$/
  )
  server.first = (_request, response) => {
    response.writeHead(404).end()
    return true
  }
  await expect(fetch(`${server.origin}/gone.gguf`)).rejects.toThrow(/ has no file \/gone\.gguf$/)
  server.first = (request, response) => {
    response.writeHead(200, { 'content-length': 9 }).end(request.method === 'HEAD' ? '' : 'not found')
    return true
  }
  await expect(fetch(`${server.origin}/page.gguf`)).rejects.toThrow('page.gguf is no GGUF that can be read; it was del')
  expect([readdirSync(runDir), readdirSync(to)]).toEqual([[], []])
  await expect(fetch('http://mirror.example/x.gguf')).rejects.toMatchObject({ code: 'usage' })
  await expect(fetch('what is this')).rejects.toMatchObject({ code: 'usage' })
})

test('what a server calls its file stays in the folder, and ends as models do', async () => {
  const server = await serving()
  const { fetch, to, runDir } = rig()
  expect((await fetch(`${server.origin}/get?id=7`)).file).toBe(join(to, 'get.gguf'))
  server.first = (_, response) => {
    response.setHeader('content-disposition', 'attachment; filename="../../up"')
    return false
  }
  const { file } = await fetch(`${server.origin}/other`)
  expect(dirname(file)).toBe(to)
  expect(readdirSync(to)).toHaveLength(2)
  expect(readdirSync(to).every((name) => name.endsWith('.gguf'))).toBe(true)
  expect(readdirSync(dirname(runDir)).sort()).toEqual(['models', 'run'])
})

test('a model of the same name stays as it is', async () => {
  const server = await serving()
  const { fetch, to } = rig()
  writeFileSync(join(to, 'small.gguf'), 'mine')
  await expect(fetch(`${server.origin}/small.gguf`)).rejects.toThrow('small.gguf is in')
  expect(readFileSync(join(to, 'small.gguf'), 'utf8')).toBe('mine')
  expect(existsSync(join(to, 'small.gguf.ipull'))).toBe(false)
})
