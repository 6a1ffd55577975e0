/** What every part of the contract shares: how a call refuses, and the words for paths and pages of rows. */
import { oc } from '@orpc/contract'
import { z } from 'zod'
import { ErrorShape } from '../worker-contract.ts'

/**
 * Every call may refuse with REFUSED: `data` says what was wrong and what to do, as on the command line. Anything else
 * that comes back is a bug of ours or a lost connection.
 */
export const call = oc.errors({ REFUSED: { message: 'refused', data: ErrorShape } })

export const RunId = z.string().min(1)
export const DatasetId = z.string().min(1)
/** An absolute path on the machine the host runs on, which is not always the one the page is looked at from. */
export const HostPath = z.string().min(1)
/** Milliseconds since 1970, UTC. */
export const Time = z.number().int()

/** One page of a long list. */
export const Slice = z.strictObject({
  offset: z.number().int().nonnegative().default(0),
  limit: z.number().int().positive().max(500).default(100)
})

/**
 * Long polling, the one way a page follows something: it asks for what comes after its cursor, the host answers as soon
 * as there is something, or with nothing new after `waitMs`. The page sets the pace, so nothing queues up for it;
 * live, late, reloaded and finished are one path.
 */
export const Follow = { waitMs: z.number().int().min(0).max(25_000).default(20_000) }

/** One thing that is wrong with what a person wrote, and where. */
export const Issue = z.object({
  message: z.string(),
  /** 1-based, in the text that was checked. */
  line: z.number().int().positive().optional(),
  column: z.number().int().positive().optional(),
  /** The setting it is about, e.g. `optimizer.learning_rate`. */
  path: z.string().optional()
})
export type Issue = z.infer<typeof Issue>
