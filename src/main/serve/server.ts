/** The app in a browser tab: the built page and one WebSocket to the host, on loopback unless another address is asked for. */
import { existsSync } from 'node:fs'
import { createServer } from 'node:http'
import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import { hostname, networkInterfaces } from 'node:os'
import { join } from 'node:path'
import type { Duplex } from 'node:stream'
import type { AnyRouter } from '@orpc/server'
import type { StandardRPCHandlerOptions } from '@orpc/server/standard'
import { RPCHandler } from '@orpc/server/ws'
import { WebSocketServer } from 'ws'
import type { WebSocket } from 'ws'
import { AppError } from '../../shared/errors.ts'
import { createAccess } from './access.ts'
import type { Access, Refusal } from './access.ts'
import { fileOf, SECURITY_HEADERS, sendFile } from './files.ts'

export type ServeOptions = {
  readonly router: AnyRouter
  readonly handlerOptions?: StandardRPCHandlerOptions<Record<never, never>>
  /** The folder of the built page. */
  readonly page: string
  /** 0: any free one. */
  readonly port: number
  readonly host: string
}

export type Served = {
  /** With the token: what a person opens first. */
  readonly address: string
  readonly port: number
  readonly token: string
  /** What to know when the address is not loopback. */
  readonly advice: readonly string[]
  readonly close: () => Promise<void>
}

/** A piece of an uploaded file is the largest thing a page says. */
const MOST_BYTES = 8 * 2 ** 20
const MOST_SOCKETS = 64
const HEARTBEAT_MS = 20_000
const LOOPBACK = ['127.0.0.1', 'localhost', '[::1]'] as const

/** Starts serving. Throws AppError('usage') when the port is taken or the page was not built. */
export async function serve({ router, handlerOptions, page, port, host }: ServeOptions): Promise<Served> {
  if (!existsSync(join(page, 'index.html')))
    throw new AppError('usage', `the page is not built: ${page} has no index.html`, 'Run `npm run build:page` first.')
  const server = createServer()
  await listen(server, port, host)
  const { port: bound } = server.address() as { port: number }
  const local = isLoopback(host)
  const access = createAccess(local ? LOOPBACK : [...LOOPBACK, ...namesOf(host)], bound)
  const handler = new RPCHandler(router, handlerOptions)
  const sockets = new WebSocketServer({ noServer: true, maxPayload: MOST_BYTES, perMessageDeflate: false })
  const alive = new WeakSet<WebSocket>()

  server.on('request', (request, response) => answer(request, response, access, page))
  server.on('upgrade', (request, socket, head) => {
    const refusal = refuseSocket(request, access, sockets.clients.size)
    if (refusal !== null) return refuseUpgrade(socket, refusal)
    sockets.handleUpgrade(request, socket, head, (ws) => {
      alive.add(ws)
      ws.on('pong', () => alive.add(ws))
      ws.on('error', () => ws.terminate()) // an oversized or broken message ends its own connection only
      void handler.upgrade(ws)
    })
  })
  server.on('clientError', (_error, socket) => socket.destroy())
  const heartbeat = setInterval(() => {
    for (const ws of sockets.clients) {
      if (!alive.has(ws)) ws.terminate()
      alive.delete(ws)
      ws.ping()
    }
  }, HEARTBEAT_MS)
  heartbeat.unref()

  const shown = local ? '127.0.0.1' : bracketed(host === '0.0.0.0' || host === '::' ? hostname() : host)
  return {
    address: `http://${shown}:${bound}/?token=${access.token}`,
    port: bound,
    token: access.token,
    advice: local
      ? []
      : [
          `Anybody on the network can read what passes: this connection is not encrypted.`,
          `Safer: leave --host out and tunnel: ssh -L ${bound}:127.0.0.1:${bound} ${hostname()}`,
          `Or put a reverse proxy with TLS in front of it.`
        ],
    close: async () => {
      clearInterval(heartbeat)
      for (const ws of sockets.clients) ws.terminate()
      sockets.close()
      server.closeAllConnections()
      await new Promise((done) => server.close(done))
    }
  }
}

function listen(server: Server, port: number, host: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => {
      const what: Readonly<Record<string, string>> = {
        EADDRINUSE: `port ${port} is taken`,
        EACCES: `port ${port} may not be used by this user`,
        EADDRNOTAVAIL: `${host} is no address of this machine`,
        ENOTFOUND: `${host} is no address of this machine`
      }
      const said = what[error.code ?? '']
      reject(
        said === undefined
          ? error
          : new AppError('usage', said, 'Choose another with --port or --host.', { cause: error })
      )
    })
    server.listen(port, host, resolve)
  })
}

function answer(request: IncomingMessage, response: ServerResponse, access: Access, page: string): void {
  if (request.method !== 'GET' && request.method !== 'HEAD')
    return refusePage(response, { status: 405, why: 'only GET' })
  const foreign = access.refuseForeign(request, 'page')
  if (foreign !== null) return refusePage(response, foreign)
  const url = targetOf(request)
  if (url === null) return refusePage(response, { status: 400, why: 'no such address' })
  if (access.bringsToken(url)) {
    url.searchParams.delete('token')
    response.writeHead(303, {
      ...SECURITY_HEADERS,
      'Set-Cookie': access.cookie,
      Location: `${url.pathname.replace(/^\/+/, '/')}${url.search}`,
      'Cache-Control': 'no-store'
    })
    response.end()
    return
  }
  const refusal = access.refuse(request, 'page')
  if (refusal !== null) return refusePage(response, refusal)
  const file = fileOf(page, rawPath(request))
  if (file === null) return refusePage(response, { status: 404, why: 'no such file' })
  sendFile(file, request, response)
}

/** As it was sent: `URL` would resolve the `..` that is to be refused. */
const rawPath = (request: IncomingMessage): string => (request.url ?? '/').split(/[?#]/)[0]!

function targetOf(request: IncomingMessage): URL | null {
  const target = request.url ?? '/'
  return target.startsWith('/') && URL.canParse(target, 'http://here') ? new URL(target, 'http://here') : null
}

function refuseSocket(request: IncomingMessage, access: Access, open: number): Refusal | null {
  if (rawPath(request) !== '/rpc') return { status: 404, why: 'no such socket' }
  if (open >= MOST_SOCKETS) return { status: 503, why: 'too many tabs are open' }
  return access.refuse(request, 'socket')
}

function refusePage(response: ServerResponse, { status, why }: Refusal): void {
  response.writeHead(status, {
    ...SECURITY_HEADERS,
    'Content-Type': 'text/plain; charset=utf-8',
    'Cache-Control': 'no-store'
  })
  response.end(`${why}\n`)
}

function refuseUpgrade(socket: Duplex, { status, why }: Refusal): void {
  socket.end(
    `HTTP/1.1 ${status} Refused\r\nContent-Type: text/plain\r\nContent-Length: ${Buffer.byteLength(why)}\r\nConnection: close\r\n\r\n${why}`
  )
}

const isLoopback = (host: string): boolean => /^(127\.\d+\.\d+\.\d+|::1|localhost)$/.test(host)
const bracketed = (host: string): string => (host.includes(':') ? `[${host}]` : host)

/** The names a machine is reached by when it listens on `host`. */
function namesOf(host: string): string[] {
  if (host !== '0.0.0.0' && host !== '::') return [bracketed(host)]
  const addresses = Object.values(networkInterfaces()).flatMap((list) =>
    (list ?? []).map(({ address }) => bracketed(address))
  )
  return [hostname(), ...addresses]
}
