/** What went wrong with a call, as a sentence a person can act on. */
import { ORPCError } from '@orpc/client'
import type { ErrorShape } from '../../shared/worker-contract.ts'

export type Problem = {
  readonly message: string
  readonly hint?: string | undefined
  /** The connection went away; the same call may work once it is back. */
  readonly lost?: boolean
}

/** The connection went away while a call was under way: whether the host did it is not known. */
export class ConnectionLost extends Error {
  override readonly name = 'ConnectionLost'
  constructor() {
    super('The connection to the host was lost.')
  }
}

/** Reads anything a call rejects with. Refusals carry their own words; the rest is a bug of ours and says so. */
export function problemOf(error: unknown): Problem {
  if (error instanceof ConnectionLost)
    return { message: error.message, hint: 'It is tried again by itself; nothing on the host has stopped.', lost: true }
  if (error instanceof ORPCError) {
    if (error.code === 'REFUSED') {
      const { message, hint } = error.data as ErrorShape
      return { message, hint }
    }
    if (error.code === 'BAD_REQUEST')
      return { message: `The host could not read this request: ${inputIssue(error.data)}`, hint: 'Check the input.' }
  }
  const message = error instanceof Error ? error.message : String(error)
  return {
    message: `Something unexpected went wrong: ${message}`,
    hint: 'This is a fault of Reasonsmith. Settings → Logs has the details.'
  }
}

/** The first issue of a zod refusal, with the place it is about. */
function inputIssue(data: unknown): string {
  const issues = (data as { issues?: { message?: string; path?: (string | number)[] }[] } | undefined)?.issues
  const first = issues?.[0]
  if (first === undefined) return 'its input is not valid'
  return [first.path?.join('.'), first.message].filter(Boolean).join(': ')
}
