/** What the served app must refuse, asked over real sockets. */
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs'
import { request } from 'node:http'
import type { IncomingHttpHeaders } from 'node:http'
import { connect } from 'node:net'
import { join } from 'node:path'
import { os } from '@orpc/server'
import { beforeEach, describe, expect, test } from 'vitest'
import { WebSocket } from 'ws'
import { AppError } from '../../src/shared/errors.ts'
import { serve } from '../../src/main/serve/server.ts'
import type { Served } from '../../src/main/serve/server.ts'
import { atEnd, workspace } from '../store/workspace.ts'

let served: Served
let folder: string
const router = { echo: os.handler(({ input }) => input) }

beforeEach(async () => {
  folder = workspace()
  const page = join(folder, 'page')
  mkdirSync(join(page, 'assets'), { recursive: true })
  writeFileSync(join(page, 'index.html'), '<!doctype html><title>the page</title>')
  writeFileSync(join(page, 'assets', 'index-a1b2c3d4.js'), 'export {}')
  writeFileSync(join(folder, 'secret.txt'), 'the secret')
  symlinkSync(join(folder, 'secret.txt'), join(page, 'linked.txt'))
  served = await serve({ router, page, port: 0, host: '127.0.0.1' })
  atEnd(served.close)
})

type Answer = { readonly status: number; readonly headers: IncomingHttpHeaders; readonly body: string }

/** As it is written: no client resolves `..` or fixes a header. */
function get(path: string, headers: Record<string, string> = {}, method = 'GET'): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const asked = request(
      { host: '127.0.0.1', port: served.port, path, method, headers: { host: `127.0.0.1:${served.port}`, ...headers } },
      (response) => {
        let body = ''
        response.on('data', (piece) => (body += String(piece)))
        response.on('end', () => resolve({ status: response.statusCode!, headers: response.headers, body }))
      }
    )
    asked.on('error', reject)
    asked.end()
  })
}
const cookie = async (): Promise<string> =>
  (await get(`/?token=${served.token}`)).headers['set-cookie']![0]!.split(';')[0]!
const origin = (): string => `http://127.0.0.1:${served.port}`

/** 'open', or the status the upgrade was refused with. */
function socket(headers: Record<string, string>, path = '/rpc'): Promise<'open' | number> {
  return new Promise((resolve, reject) => {
    const ws = new WebSocket(`ws://127.0.0.1:${served.port}${path}`, { headers })
    ws.on('open', () => (ws.terminate(), resolve('open')))
    ws.on('unexpected-response', (_request, response) => resolve(response.statusCode!))
    ws.on('error', reject)
  })
}

describe('the first address', () => {
  test('turns its token into a cookie that scripts and other sites never see, and is left', async () => {
    const { status, headers } = await get(`/?token=${served.token}&x=1`)
    expect(status).toBe(303)
    expect(headers.location).toBe('/?x=1')
    expect(headers['set-cookie']![0]).toMatch(/; Path=\/; HttpOnly; SameSite=Strict$/)
    expect(headers['set-cookie']![0]).not.toContain(served.token)
    expect(headers['referrer-policy']).toBe('no-referrer')
  })
  test('leads nowhere else', async () =>
    expect((await get(`//evil.example/?token=${served.token}`)).headers.location).toBe('/'))
  test.each(['', 'wrong', 'A'.repeat(43)])('with the token %j is refused', async (token) => {
    const { status, headers } = await get(`/?token=${token}`)
    expect([status, headers['set-cookie']]).toEqual([401, undefined])
  })
})

describe('the page', () => {
  test('is given with a session, under a policy that lets nothing foreign in', async () => {
    const { status, headers, body } = await get('/', { cookie: await cookie() })
    expect([status, body]).toEqual([200, expect.stringContaining('the page')])
    const policy = headers['content-security-policy']!
    expect(policy).toContain("default-src 'none'")
    expect(policy).toContain("script-src 'self';")
    expect(policy).toContain("frame-ancestors 'none'")
    expect(headers).toMatchObject({ 'x-content-type-options': 'nosniff', 'cache-control': 'no-store' })
  })
  test('is given for places inside it, scripts with their type', async () => {
    const session = await cookie()
    expect((await get('/runs/abc', { cookie: session })).body).toContain('the page')
    const script = await get('/assets/index-a1b2c3d4.js', { cookie: session })
    expect(script.headers['content-type']).toContain('javascript')
    expect(script.headers['cache-control']).toContain('immutable')
  })
  test('is refused without a session, and with that of another server', async () => {
    expect((await get('/')).status).toBe(401)
    expect((await get('/', { cookie: `reasonsmith-${served.port}=wrong` })).status).toBe(401)
    expect((await get('/', { cookie: (await cookie()).replace(/^[^=]+/, 'reasonsmith-1') })).status).toBe(401)
  })
  test.each([
    ['a foreign name that points here', 'evil.example'],
    ['a foreign name with our port', 'evil.example:PORT'],
    ['our name with another port', '127.0.0.1:1'],
    ['another address of the machine', '0.0.0.0:PORT'],
    ['a name that begins like ours', '127.0.0.1.evil.example:PORT']
  ])('is refused to %s, the token included', async (_what, host) => {
    const header = { host: host.replace('PORT', String(served.port)) }
    expect((await get('/', { ...header, cookie: await cookie() })).status).toBe(421)
    expect((await get(`/?token=${served.token}`, header)).status).toBe(421)
  })
  test('is refused to scripts of other sites', async () => {
    const session = { cookie: await cookie() }
    expect((await get('/', { ...session, origin: 'https://evil.example' })).status).toBe(403)
    expect((await get('/', { ...session, origin: 'null' })).status).toBe(403)
    expect((await get('/', { ...session, origin: origin() })).status).toBe(200)
  })
  test.each([
    '/../secret.txt',
    '/assets/../../secret.txt',
    '/%2e%2e/secret.txt',
    '/..%2fsecret.txt',
    '/assets/..%5c..%5csecret.txt',
    '/%2fetc%2fpasswd.txt',
    '/linked.txt',
    '/secret.txt%00.html',
    '/%ff.txt',
    '/nothing.js'
  ])('has no file %s', async (path) => {
    const { status, body } = await get(path, { cookie: await cookie() })
    expect(status).toBe(404)
    expect(body).not.toContain('secret')
  })
  test('is only read', async () => {
    expect((await get('/', { cookie: await cookie() }, 'POST')).status).toBe(405)
    expect((await get('/rpc', { cookie: await cookie() }, 'POST')).status).toBe(405)
  })
})

describe('the socket', () => {
  test('opens for the page', async () =>
    expect(await socket({ cookie: await cookie(), origin: origin() })).toBe('open'))
  test('is refused without a session', async () => expect(await socket({ origin: origin() })).toBe(401))
  test('is refused to a page of another site that brings the cookie', async () => {
    const session = await cookie()
    expect(await socket({ cookie: session, origin: 'https://evil.example' })).toBe(403)
    expect(await socket({ cookie: session, origin: `http://127.0.0.1:${served.port + 1}` })).toBe(403)
    expect(await socket({ cookie: session, origin: 'null' })).toBe(403)
    expect(await socket({ cookie: session })).toBe(403)
  })
  test('is refused under a foreign name', async () => {
    const host = `evil.example:${served.port}`
    expect(await socket({ cookie: await cookie(), origin: `http://${host}`, host })).toBe(421)
  })
  test('is at one place only', async () =>
    expect(await socket({ cookie: await cookie(), origin: origin() }, '/other')).toBe(404))
  test('ends on a message that is too large, and nobody else’s with it', async () => {
    const headers = { cookie: await cookie(), origin: origin() }
    const open = (): Promise<WebSocket> =>
      new Promise((resolve) => {
        const ws = new WebSocket(`ws://127.0.0.1:${served.port}/rpc`, { headers })
        ws.on('error', () => undefined)
        ws.on('open', () => resolve(ws))
      })
    const [bad, good] = [await open(), await open()]
    const closed = new Promise<number>((resolve) => bad.on('close', resolve))
    bad.send(Buffer.alloc(9 * 2 ** 20))
    expect([1006, 1009]).toContain(await closed)
    expect(good.readyState).toBe(WebSocket.OPEN)
    good.send('not an rpc message')
    good.terminate()
  })
  test('half a request ends nothing', async () => {
    const raw = connect(served.port, '127.0.0.1')
    raw.on('error', () => undefined)
    raw.end('GET / HTTP/1.1\r\nHost')
    await new Promise((done) => raw.on('close', done))
    expect((await get('/', { cookie: await cookie() })).status).toBe(200)
  })
})

describe('starting', () => {
  test('a taken port is refused in words', async () => {
    const again = serve({ router, page: join(folder, 'page'), port: served.port, host: '127.0.0.1' })
    await expect(again).rejects.toThrow(AppError)
    await expect(again).rejects.toThrow(/is taken/)
  })
  test('a page that was not built is refused with the command that builds it', async () =>
    await expect(serve({ router, page: folder, port: 0, host: '127.0.0.1' })).rejects.toMatchObject({
      hint: expect.stringContaining('npm run build:page')
    }))
  test('loopback needs no advice, anything else gets it', async () => {
    expect(served.advice).toEqual([])
    const open = await serve({ router, page: join(folder, 'page'), port: 0, host: '0.0.0.0' })
    atEnd(open.close)
    expect(open.advice.join('\n')).toMatch(/not encrypted.*ssh -L.*TLS/s)
  })
})
