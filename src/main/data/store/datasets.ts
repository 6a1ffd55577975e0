/**
 * Datasets as rows: a page of any place at once, full-text search, repeats. A dataset is written in pieces so that the host
 * stays awake, and is there only when it is whole: what a crash left half-written goes at the next start.
 */
import { setImmediate as nextTurn } from 'node:timers/promises'
import type { Db } from './db.ts'

export type DatasetRecord = {
  readonly number: number
  readonly id: string
  readonly name: string
  readonly purpose: 'traces' | 'tasks'
  readonly format: string
  readonly rows: number
  readonly duplicates: number
  readonly path: string
  readonly origin: string
  readonly created_at: number
  readonly trashed_at: number | null
}
export type NewDataset = Pick<DatasetRecord, 'id' | 'name' | 'purpose' | 'format' | 'path' | 'origin' | 'created_at'>
export type NewRow = {
  readonly hash: Uint8Array
  readonly repeats: boolean
  readonly body: string
  readonly said: string
}
export type RowRequest = {
  readonly offset: number
  readonly limit: number
  readonly search: string
  readonly onlyDuplicates: boolean
}

export type DatasetWriter = {
  readonly add: (rows: readonly NewRow[]) => void
  /** Makes the dataset visible. */
  readonly finish: (duplicates: number) => DatasetRecord
  /** Takes back everything that was added, in pieces as `delete` does. */
  readonly drop: () => Promise<void>
}

export type DatasetStore = {
  /** Files of datasets that were not whole, or not wholly deleted, when the last host died. */
  readonly leftBehind: readonly string[]
  readonly list: (trashed: boolean) => readonly DatasetRecord[]
  readonly get: (id: string) => DatasetRecord | undefined
  readonly begin: (dataset: NewDataset) => DatasetWriter
  /** What `work` does, a crash in the middle leaves undone. */
  readonly atOnce: <T>(work: () => T) => T
  readonly rows: (
    dataset: number,
    asked: RowRequest
  ) => { readonly rows: { index: number; body: string }[]; readonly total: number }
  /** Rows in order without holding them all; the store must not be written to meanwhile by this loop. */
  readonly chunk: (
    dataset: number,
    from: number,
    limit: number
  ) => readonly { place: number; repeats: number; body: string }[]
  readonly rename: (id: string, name: string) => void
  readonly trash: (id: string, at: number | null) => void
  /** Gone at once for whoever asks; its rows go in pieces, and after a crash meanwhile at the next start. */
  readonly delete: (id: string) => Promise<void>
}

/** Rows that are deleted in one transaction: few enough that the host stays awake between them. */
const DELETED_AT_ONCE = 5000
/** Rows never change once they are in; numbers of deleted datasets come again. */
const KEPT_TOTALS = 16

export function datasetStore(db: Db): DatasetStore {
  const insertRow = db.prepare('INSERT INTO dataset_rows (dataset, place, hash, repeats, body) VALUES (?, ?, ?, ?, ?)')
  const insertText = db.prepare('INSERT INTO dataset_text (rowid, said) VALUES (?, ?)')
  const get = db.prepare('SELECT * FROM datasets WHERE id = ? AND ready = 1')
  const drop = db.transaction((number: number) => {
    db.prepare('DELETE FROM dataset_text WHERE rowid IN (SELECT row FROM dataset_rows WHERE dataset = ?)').run(number)
    db.prepare('DELETE FROM datasets WHERE number = ?').run(number) // its rows go with it
  })
  const some = db.prepare('SELECT row FROM dataset_rows WHERE dataset = ? LIMIT ?').pluck()
  const dropText = db.prepare('DELETE FROM dataset_text WHERE rowid = ?')
  const dropRow = db.prepare('DELETE FROM dataset_rows WHERE row = ?')
  /** False once no row is left. */
  const dropSome = db.transaction((number: number): boolean => {
    const rows = some.all(number, DELETED_AT_ONCE) as number[]
    for (const row of rows) {
      dropText.run(row)
      dropRow.run(row)
    }
    return rows.length > 0
  })
  const dropInPieces = async (number: number): Promise<void> => {
    while (dropSome(number)) await nextTurn()
    drop(number)
  }
  const torn = db.prepare('SELECT number, path FROM datasets WHERE ready = 0').all() as DatasetRecord[]
  for (const { number } of torn) drop(number)

  /** Counting the hits in a million rows takes most of a second, and every page that is scrolled to asks for it. */
  const totals = new Map<string, number>()
  const totalOf = (where: string, named: object): number => {
    const key = JSON.stringify([where, named])
    const total =
      totals.get(key) ?? Number(db.prepare(`SELECT count(*) FROM dataset_rows WHERE ${where}`).pluck().get(named))
    totals.delete(key)
    totals.set(key, total)
    for (const old of [...totals.keys()].slice(0, -KEPT_TOTALS)) totals.delete(old)
    return total
  }

  return {
    leftBehind: torn.map(({ path }) => path),
    list: (trashed) =>
      db
        .prepare(
          'SELECT * FROM datasets WHERE ready = 1 AND (trashed_at IS NOT NULL) = ? ORDER BY created_at DESC, number DESC'
        )
        .all(trashed ? 1 : 0) as DatasetRecord[],
    get: (id) => get.get(id) as DatasetRecord | undefined,
    begin: (dataset) => {
      const number = Number(
        db
          .prepare(
            `INSERT INTO datasets (id, name, purpose, format, rows, duplicates, path, origin, created_at, ready)
             VALUES (@id, @name, @purpose, @format, 0, 0, @path, @origin, @created_at, 0)`
          )
          .run(dataset).lastInsertRowid
      )
      totals.clear()
      let place = 0
      return {
        add: db.transaction((rows: readonly NewRow[]) => {
          for (const { hash, repeats, body, said } of rows) {
            const { lastInsertRowid } = insertRow.run(number, place++, hash, repeats ? 1 : 0, body)
            insertText.run(lastInsertRowid, said)
          }
        }),
        finish: (duplicates) => {
          db.prepare('UPDATE datasets SET ready = 1, rows = ?, duplicates = ? WHERE number = ?').run(
            place,
            duplicates,
            number
          )
          return get.get(dataset.id) as DatasetRecord
        },
        drop: () => dropInPieces(number)
      }
    },
    atOnce: (work) => db.transaction(work)(),
    rows: (dataset, { offset, limit, search, onlyDuplicates }) => {
      const asked = matchOf(search)
      const where = [
        'dataset = @dataset',
        ...(onlyDuplicates ? ['repeats = 1'] : []),
        ...(asked === null ? [] : ['row IN (SELECT rowid FROM dataset_text WHERE dataset_text MATCH @asked)'])
      ].join(' AND ')
      const named = { dataset, ...(asked !== null && { asked }) }
      if (asked === null && !onlyDuplicates) {
        // Places have no gaps: any page is found at once.
        const rows = db
          .prepare(
            'SELECT place AS "index", body FROM dataset_rows WHERE dataset = ? AND place >= ? ORDER BY place LIMIT ?'
          )
          .all(dataset, offset, limit) as { index: number; body: string }[]
        return { rows, total: Number(db.prepare('SELECT rows FROM datasets WHERE number = ?').pluck().get(dataset)) }
      }
      const rows = db
        .prepare(
          `SELECT place AS "index", body FROM dataset_rows WHERE ${where} ORDER BY place LIMIT @limit OFFSET @offset`
        )
        .all({ ...named, limit, offset }) as { index: number; body: string }[]
      return { rows, total: totalOf(where, named) }
    },
    chunk: (dataset, from, limit) =>
      db
        .prepare(
          'SELECT place, repeats, body FROM dataset_rows WHERE dataset = ? AND place >= ? ORDER BY place LIMIT ?'
        )
        .all(dataset, from, limit) as { place: number; repeats: number; body: string }[],
    rename: (id, name) => void db.prepare('UPDATE datasets SET name = ? WHERE id = ?').run(name, id),
    trash: (id, at) => void db.prepare('UPDATE datasets SET trashed_at = ? WHERE id = ?').run(at, id),
    delete: async (id) => {
      const found = get.get(id) as DatasetRecord | undefined
      if (found === undefined) return
      db.prepare('UPDATE datasets SET ready = 0 WHERE id = ?').run(id)
      await dropInPieces(found.number)
    }
  }
}

/** Every word must occur; the last may be a beginning, since it may still be being typed. */
function matchOf(search: string): string | null {
  const words = search.match(/[\p{L}\p{N}]+/gu) ?? []
  if (words.length === 0) return null
  return words.map((word, i) => `"${word}"${i === words.length - 1 ? '*' : ''}`).join(' AND ')
}
