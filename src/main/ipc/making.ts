/** How far what is made of a file or of another dataset is, for those who look on. */
import { AppError } from '../../shared/errors.ts'
import type { Host } from './host.ts'

/** Rows that were read; `of` null where nobody knows how many there are. */
export type Making = { readonly done: number; readonly of: number | null }

export type MakingBoard = {
  /** Takes the place of the one maker there may be of this source. Throws AppError('usage') where there is one. */
  readonly begin: (source: string, name: string, state: Making) => void
  readonly tell: (source: string, state: Making) => void
  readonly end: (source: string) => void
  /** As soon as it is further than `after`; null: nothing is made of it. */
  readonly progress: (
    source: string,
    after: number,
    waitMs: number,
    signal: AbortSignal | undefined
  ) => Promise<Making | null>
}

export function makingBoard({ changes }: Pick<Host, 'changes'>): MakingBoard {
  const making = new Map<string, Making>()
  const said = (source: string): void => changes.tell(`making/${source}`)
  const tell = (source: string, state: Making): void => {
    making.set(source, state)
    said(source)
  }
  return {
    begin: (source, name, state) => {
      if (making.has(source))
        throw new AppError('usage', `something is made of ${name} already`, 'Wait until that has ended, or cancel it.')
      tell(source, state)
    },
    tell,
    end: (source) => {
      making.delete(source)
      said(source)
    },
    progress: async (source, after, waitMs, signal) => {
      if (making.get(source)?.done === after) await changes.next(`making/${source}`, waitMs, signal)
      return making.get(source) ?? null
    }
  }
}
