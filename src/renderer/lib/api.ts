/** The host's calls, typed by the contract. The only way a page reaches anything outside itself. */
import { createORPCClient } from '@orpc/client'
import type { ContractRouterClient } from '@orpc/contract'
import type { Contract } from '../../shared/contract/index.ts'
import { connection } from './connection.svelte.ts'

export type Api = ContractRouterClient<Contract>
export const api: Api = createORPCClient(connection)

/** What a call answers with, e.g. `Answer<Api['app']['home']>`. */
export type Answer<C extends (...args: never[]) => Promise<unknown>> = Awaited<ReturnType<C>>
