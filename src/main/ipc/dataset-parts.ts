/** New datasets made of the rows of another: all of them or, where nobody waits for them any more, none. */
import { setImmediate as nextTurn } from 'node:timers/promises'
import { AppError } from '../../shared/errors.ts'
import type { SourceRow } from '../data/datasets/containers.ts'
import { writeDatasets } from '../data/datasets/write.ts'
import type { PartRow } from '../data/datasets/write.ts'
import type { DatasetRecord } from '../data/store/datasets.ts'
import type { Host } from './host.ts'
import type { MakingBoard } from './making.ts'

export type PartMaker = {
  /** `partOf` says which of the new datasets a row goes to; null: to none. Throws the signal's reason; nothing is kept then. */
  readonly make: (
    from: DatasetRecord,
    names: readonly string[],
    partOf: (row: { readonly place: number; readonly repeats: number }) => number | null,
    signal: AbortSignal | undefined
  ) => Promise<DatasetRecord[]>
}

const CHUNK = 1000

export function partMaker(host: Host, board: MakingBoard): PartMaker {
  const store = host.store.datasets
  return {
    make: async (from, names, partOf, signal) => {
      async function* rows(): AsyncIterable<PartRow> {
        for (let done = 0; done < from.rows; done += CHUNK) {
          board.tell(from.id, { done, of: from.rows })
          await nextTurn()
          signal?.throwIfAborted()
          const chunk = store.chunk(from.number, done, CHUNK)
          if (chunk.length === 0) throw new AppError('data', `${from.name} was deleted meanwhile`, 'Nothing was kept.')
          for (const row of chunk) {
            const part = partOf(row)
            if (part !== null) yield { part, body: JSON.parse(row.body) as SourceRow }
          }
        }
        signal?.throwIfAborted()
      }
      const { purpose: use, format, origin } = from
      const nothing = (): string => 'none of the rows belongs to this part'
      board.begin(from.id, from.name, { done: 0, of: from.rows })
      try {
        return await writeDatasets({ store, folder: host.at('datasets'), use, format, origin, nothing }, names, rows())
      } finally {
        board.end(from.id)
        host.changed('datasets')
      }
    }
  }
}
