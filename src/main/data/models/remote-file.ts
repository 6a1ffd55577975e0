/** What a server says of a file before it is fetched: that it is there, and the checksum it should have. */
import { AppError } from '../../../shared/errors.ts'

const ANSWER_MS = 20_000
const HOPS = 5
const SHA256 = /^(?:W\/)?"?([0-9a-f]{64})"?$/i

/**
 * The SHA-256 that Hugging Face keeps of a file (`X-Linked-ETag`, on its own answer or on the way to its store), null where
 * the server tells none. An ETag is another server's own affair and is not taken for one. Throws AppError('model') for a
 * server that cannot be reached and a file that is not there.
 */
export async function remoteChecksum(url: string, signal: AbortSignal): Promise<string | null> {
  let at = new URL(url)
  for (let hop = 0; hop < HOPS; hop++) {
    const answer = await headOf(at, signal)
    if (answer.status === 404 || answer.status === 410)
      throw new AppError('model', `${at.host} has no file ${at.pathname}`, 'Check the name or the address.')
    const sum = SHA256.exec(answer.headers.get('x-linked-etag') ?? '')?.[1]
    if (sum !== undefined) return sum.toLowerCase()
    const next = answer.status >= 300 && answer.status < 400 ? answer.headers.get('location') : null
    if (next === null) return null
    at = new URL(next, at)
  }
  return null
}

/** Whether anything answers there at all. Throws AppError('model'). */
export async function reach(url: string, signal: AbortSignal): Promise<void> {
  await headOf(new URL(url), signal)
}

async function headOf(url: URL, signal: AbortSignal): Promise<Response> {
  const patience = AbortSignal.timeout(ANSWER_MS)
  try {
    return await fetch(url, { method: 'HEAD', redirect: 'manual', signal: AbortSignal.any([signal, patience]) })
  } catch (cause) {
    if (signal.aborted) throw new AppError('cancelled', 'stopped')
    throw unreachable(url.host, patience.aborted ? `no answer in ${ANSWER_MS / 1000} s` : causeOf(cause), cause)
  }
}

export const unreachable = (host: string, why: string, cause?: unknown): AppError =>
  new AppError(
    'model',
    `${host} cannot be reached: ${why}`,
    'Is this machine online? Check the address, then try again.',
    {
      cause
    }
  )

const WORDS: Readonly<Record<string, string>> = {
  ENOTFOUND: 'its name is not known',
  EAI_AGAIN: 'its name cannot be looked up now',
  ECONNREFUSED: 'it refuses the connection',
  ECONNRESET: 'the connection broke',
  ENETUNREACH: 'there is no network',
  EHOSTUNREACH: 'there is no way to it',
  ETIMEDOUT: 'no answer',
  UND_ERR_CONNECT_TIMEOUT: 'no answer'
}

/** `fetch` says "fetch failed" and keeps what happened in its causes. */
export function causeOf(error: unknown): string {
  const chain: Error[] = []
  for (let one = error; one instanceof Error && !chain.includes(one); one = one.cause) chain.push(one)
  const deepest = chain.at(-1)
  const { code } = (deepest ?? {}) as NodeJS.ErrnoException
  return (code === undefined ? undefined : WORDS[code]) ?? deepest?.message ?? String(error)
}
