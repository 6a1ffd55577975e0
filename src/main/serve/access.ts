/**
 * Who may talk to the served app. A page of another site can make a browser send requests here, and a name server can point
 * a foreign name at this machine (DNS rebinding): so the Host must be one of ours, an Origin must be ours, and a secret that
 * only the terminal showed must have been exchanged for a cookie that scripts cannot read. Pure but for its secrets.
 */
import { createHash, randomBytes, timingSafeEqual } from 'node:crypto'
import type { IncomingMessage } from 'node:http'

export type Refusal = { readonly status: number; readonly why: string }

export type Access = {
  /** Shown once, in the first address. */
  readonly token: string
  /** The cookie that a right token is answered with. */
  readonly cookie: string
  /** Whether the request's target carries the right token. */
  readonly bringsToken: (url: URL) => boolean
  /** null: the request may be answered. */
  readonly refuse: (request: IncomingMessage, kind: 'page' | 'socket') => Refusal | null
  /** Only what needs no session: is it addressed to us, by a page of ours or by a person? */
  readonly refuseForeign: (request: IncomingMessage, kind: 'page' | 'socket') => Refusal | null
}

const BYTES = 32

/** `hosts` are the names this server is reached by, without port. */
export function createAccess(hosts: readonly string[], port: number): Access {
  const token = randomBytes(BYTES).toString('base64url')
  const session = randomBytes(BYTES).toString('base64url')
  // Cookies do not know ports: two servers on one machine need two names.
  const name = `reasonsmith-${port}`
  const own = new Set(
    hosts.flatMap((host) => [`${host}:${port}`, ...(port === 80 ? [host] : [])].map((one) => one.toLowerCase()))
  )

  const refuseForeign: Access['refuseForeign'] = ({ headers }, kind) => {
    const host = headers.host?.toLowerCase()
    if (host === undefined || !own.has(host))
      return { status: 421, why: 'this name is not served here: open the address that reasonsmith printed' }
    const origin = headers.origin
    const fits = origin === undefined ? kind === 'page' : origin.toLowerCase() === `http://${host}`
    return fits ? null : { status: 403, why: 'a page of another site may not talk to this one' }
  }
  return {
    token,
    cookie: `${name}=${session}; Path=/; HttpOnly; SameSite=Strict`,
    bringsToken: (url) => same(url.searchParams.get('token') ?? '', token),
    refuseForeign,
    refuse: (request, kind) => {
      const foreign = refuseForeign(request, kind)
      if (foreign !== null) return foreign
      return same(cookieOf(request, name), session)
        ? null
        : { status: 401, why: 'open the address with its token, as reasonsmith printed it in the terminal' }
    }
  }
}

/** In equal time for any two texts: both are hashed to one length. */
function same(given: string, secret: string): boolean {
  const digest = (text: string): Buffer => createHash('sha256').update(text).digest()
  return timingSafeEqual(digest(given), digest(secret))
}

function cookieOf({ headers }: IncomingMessage, name: string): string {
  for (const part of (headers.cookie ?? '').split(';')) {
    const [key, ...value] = part.trim().split('=')
    if (key === name) return value.join('=')
  }
  return ''
}
