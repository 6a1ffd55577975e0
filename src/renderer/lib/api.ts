/** The host's calls, typed by the contract. The only way a page reaches anything outside itself. */
import { createORPCClient } from '@orpc/client'
import type { ContractRouterClient } from '@orpc/contract'
import type { Contract } from '../../shared/contract/index.ts'
import { connection } from './connection.svelte.ts'

export type Api = ContractRouterClient<Contract>
export const api: Api = createORPCClient(connection)

/** An answer that was waited for under `signal`: undefined where that was given up, whatever came of it. */
export async function unlessStopped<T>(answer: Promise<T>, signal: AbortSignal): Promise<T | undefined> {
  try {
    return await answer
  } catch (error) {
    if (signal.aborted) return undefined
    throw error
  }
}

/** What a call answers with, e.g. `Answer<Api['app']['home']>`. */
export type Answer<C extends (...args: never[]) => Promise<unknown>> = Awaited<ReturnType<C>>
