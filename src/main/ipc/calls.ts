/** What a part of the contract is as functions: its parsed input (and a signal that fires when the page goes) to its output. */
import type { ContractProcedure, InferSchemaInput, InferSchemaOutput } from '@orpc/contract'
import type { Contract } from '../../shared/contract/index.ts'

type CallOf<P> =
  P extends ContractProcedure<infer I, infer O, infer _E, infer _M>
    ? (
        input: InferSchemaOutput<I>,
        signal: AbortSignal | undefined
      ) => InferSchemaInput<O> | Promise<InferSchemaInput<O>>
    : never

/** All calls of one part, e.g. `runs`. Errors: AppError, which reaches the page as REFUSED. */
export type Calls<N extends keyof Contract> = { readonly [K in keyof Contract[N]]: CallOf<Contract[N][K]> }
