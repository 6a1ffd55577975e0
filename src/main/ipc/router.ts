/** The contract, implemented: one router for every wire. */
import { inspect } from 'node:util'
import { implement, ORPCError } from '@orpc/server'
import type { AnyRouter } from '@orpc/server'
import type { StandardRPCHandlerOptions } from '@orpc/server/standard'
import { contract } from '../../shared/contract/index.ts'
import type { Contract } from '../../shared/contract/index.ts'
import { toErrorShape } from '../jobs/error-shape.ts'
import { appCalls } from './app.ts'
import type { Calls } from './calls.ts'
import { datasetCalls } from './datasets.ts'
import { evaluationCalls } from './evaluation.ts'
import { evaluationReader } from './evaluation-data.ts'
import { modelCalls } from './models.ts'
import { playCalls } from './play.ts'
import type { Host } from './host.ts'
import { recipeCalls } from './recipes.ts'
import { runCalls } from './runs.ts'

type AllCalls = { readonly [N in keyof Contract]: Calls<N> }
type Handled = { handler: (run: (asked: { input: unknown; signal?: AbortSignal }) => unknown) => unknown }

/** Every call of the contract on this host. An AppError becomes REFUSED with its code, sentence and hint. */
export function createRouter(host: Host): AnyRouter {
  const read = evaluationReader(host)
  const all: AllCalls = {
    app: appCalls(host),
    runs: runCalls(host, read),
    recipes: recipeCalls(host),
    evaluation: evaluationCalls(host, read),
    play: playCalls(host),
    models: modelCalls(host),
    datasets: datasetCalls(host)
  }
  const os = implement(contract).use(async ({ next, path }) => {
    try {
      return await next()
    } catch (error) {
      if (error instanceof ORPCError) throw error
      const shape = toErrorShape(error)
      if (shape.code === 'internal') host.log(`${path.join('.')}: ${shape.stack ?? shape.message}`)
      throw new ORPCError('REFUSED', { message: shape.message, data: forPage(shape), cause: error })
    }
  })
  const parts = Object.entries(all).map(([part, calls]) => {
    const handlers = Object.entries(calls).map(([name, call]) => {
      const procedure = (os as unknown as Record<string, Record<string, Handled>>)[part]![name]!
      return [
        name,
        procedure.handler(({ input, signal }) =>
          (call as (input: unknown, signal?: AbortSignal) => unknown)(input, signal)
        )
      ]
    })
    return [part, Object.fromEntries(handlers)]
  })
  return Object.fromEntries(parts) as AnyRouter
}

/**
 * For every wire's handler: an answer that breaks the contract is our fault and is told in the log; what a page asked wrongly
 * is the page's.
 */
export const handlerOptions = (host: Host): StandardRPCHandlerOptions<Record<never, never>> => ({
  clientInterceptors: [
    async ({ next, path }) => {
      try {
        return await next()
      } catch (error) {
        if (!(error instanceof ORPCError) || error.code === 'INTERNAL_SERVER_ERROR')
          host.log(`${path.join('.')}: the answer was not sent: ${inspect(error, { depth: 6 })}`)
        throw error
      }
    }
  ]
})

/** A page has no use for a stack; the host's log keeps it. */
function forPage({ stack, ...shape }: ReturnType<typeof toErrorShape>): object {
  if (stack === undefined) return shape
  const hint = 'This is a fault of the program. Its log, under Settings, holds the details.'
  return { ...shape, message: `unexpected: ${shape.message}`, hint }
}
