/** The one connection to the host: found, kept, found again. Pages see its state, never the wire. */
import type { ClientContext, ClientLink, ClientOptions } from '@orpc/client'
import { RPCLink as PortLink } from '@orpc/client/message-port'
import { RPCLink as SocketLink } from '@orpc/client/websocket'
import { ConnectionLost } from './problem.ts'

type Context = ClientContext
/** A wire that is open: how to call over it, whether it is still there, how to drop it. */
type Wire = { readonly link: ClientLink<Context>; gone: boolean; readonly close: () => void }

/** What the preload offers in the desktop window. `connect` answers by a message with one port, `reasonsmith:port`. */
type Desktop = { readonly connect?: () => void; readonly platform?: string }
export const desktop = (globalThis as { desktop?: Desktop }).desktop

const PORT_MESSAGE = 'reasonsmith:port'
/** Waits between attempts, ms: at once, then slower, never more than five seconds. */
const PAUSES = [0, 300, 700, 1500, 3000, 5000]

class Connection implements ClientLink<Context> {
  /** `refused`: the host answers but does not know this tab; a new address is needed. */
  state = $state<'connecting' | 'connected' | 'lost' | 'refused'>('connecting')
  /** Grows with every connection made: what depends on it asks again. */
  epoch = $state(0)
  #wire: Promise<Wire> | undefined
  #open: Wire | undefined

  /** Calls wait for a connection; one that is cut under way rejects with ConnectionLost. */
  async call(path: readonly string[], input: unknown, options: ClientOptions<Context>): Promise<unknown> {
    const wire = await this.#connected()
    options.signal?.throwIfAborted()
    try {
      return await wire.link.call(path, input, options)
    } catch (error) {
      if (wire.gone) throw new ConnectionLost()
      throw error
    }
  }

  /** Drops a connection that no longer answers; a new one is made at once. */
  reset(): void {
    this.#open?.close()
  }

  #connected(): Promise<Wire> {
    this.#wire ??= this.#connect()
    return this.#wire
  }

  async #connect(): Promise<Wire> {
    const lost = (): void => {
      this.#open = undefined
      this.#wire = undefined
      this.state = 'lost'
      void this.#connected()
    }
    for (let attempt = 0; ; attempt++) {
      await new Promise((resolve) => setTimeout(resolve, PAUSES[Math.min(attempt, PAUSES.length - 1)]))
      try {
        const wire = desktop?.connect === undefined ? await openSocket(lost) : await openPort(desktop.connect, lost)
        this.#open = wire
        this.state = 'connected'
        this.epoch += 1
        return wire
      } catch {
        if (this.state !== 'connecting' || attempt > 0) this.state = (await turnedAway()) ? 'refused' : 'lost'
      }
    }
  }
}

/** A socket to where the page came from. The cookie that came with the page says who we are. */
function openSocket(lost: () => void): Promise<Wire> {
  const address = new URL('/rpc', location.href)
  address.protocol = address.protocol === 'https:' ? 'wss:' : 'ws:'
  const socket = new WebSocket(address)
  const wire: Wire = { link: new SocketLink({ websocket: socket }), gone: false, close: () => socket.close() }
  return new Promise((resolve, reject) => {
    let opened = false
    socket.addEventListener('open', () => {
      opened = true
      resolve(wire)
    })
    socket.addEventListener('close', () => {
      wire.gone = true
      if (opened) lost()
      else reject(new ConnectionLost())
    })
  })
}

/** A port from the desktop's main process. */
function openPort(connect: () => void, lost: () => void): Promise<Wire> {
  return new Promise((resolve) => {
    const take = (event: MessageEvent): void => {
      const port = event.data === PORT_MESSAGE ? event.ports[0] : undefined
      if (port === undefined) return
      window.removeEventListener('message', take)
      const wire: Wire = { link: new PortLink({ port }), gone: false, close: () => port.close() }
      port.addEventListener('close', () => {
        wire.gone = true
        lost()
      })
      port.start()
      resolve(wire)
    }
    window.addEventListener('message', take)
    connect()
  })
}

/** The host is there but refuses this tab: it was started anew and has a new token. */
async function turnedAway(): Promise<boolean> {
  if (desktop?.connect !== undefined) return false
  try {
    const { status } = await fetch('/', { method: 'HEAD', cache: 'no-store' })
    return status === 401 || status === 403
  } catch {
    return false
  }
}

export const connection = new Connection()
