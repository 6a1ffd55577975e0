/** Datasets: a dropped file, its format, its rows. */
import { existsSync, readFileSync, rmSync, statSync } from 'node:fs'
import { basename } from 'node:path'
import { AppError } from '../../shared/errors.ts'
import { seeded } from '../../shared/random.ts'
import type { Issue } from '../../shared/contract/call.ts'
import type { DatasetSummary } from '../../shared/contract/datasets.ts'
import { containerOf, hasLines, readRows } from '../data/datasets/containers.ts'
import type { Container, SourceRow } from '../data/datasets/containers.ts'
import { convertRow, detectFormat, knownRoles, useOf } from '../data/datasets/formats.ts'
import { writeDataset } from '../data/datasets/write.ts'
import type { DatasetRecord } from '../data/store/datasets.ts'
import type { Calls } from './calls.ts'
import { partMaker } from './dataset-parts.ts'
import type { Host } from './host.ts'
import { makingBoard } from './making.ts'
import { histogramOf } from './length-histogram.ts'
import { refuseRead } from './readers.ts'
import { forgetOldUploads, forgetUpload, takePiece } from './uploads.ts'

const CHECKED_ROWS = 200
const SHOWN_ROWS = 10
/** An import says how far it is each time it has read so many. */
const TOLD_ROWS = 500
const KEPT_ISSUES = 200
/** A page takes an export as one text. */
const MOST_EXPORT_BYTES = 256 * 2 ** 20

export function datasetCalls(host: Host): Calls<'datasets'> {
  const store = host.store.datasets
  const uploads = host.at('uploads')
  forgetOldUploads(uploads)
  const existing = (id: string): DatasetRecord => {
    const found = store.get(id)
    if (found === undefined) throw new AppError('usage', 'there is no such dataset', 'Look at the list of datasets.')
    return found
  }
  const board = makingBoard(host)
  const parts = partMaker(host, board)

  /** All or, where one of them must stay, none. */
  const deleteAll = async (records: readonly DatasetRecord[]): Promise<{ deleted: number }> => {
    for (const { name, path, trashed_at } of records) {
      if (trashed_at === null)
        throw new AppError('usage', `${name} is not in the trash`, 'Only what is in the trash can be deleted for ever.')
      refuseRead(host, path, name)
    }
    for (const { path } of records) rmSync(path, { force: true })
    // All are gone at once for whoever asks: none is taken back while the rows of another go.
    const going = records.map(({ id }) => store.delete(id))
    host.changed('datasets')
    await Promise.all(going)
    return { deleted: records.length }
  }

  return {
    list: ({ trashed }) => store.list(trashed).map(summaryOf),
    upload: (piece) => ({ path: takePiece(uploads, piece) }),
    preview: async ({ path, format: asked, mapping: given }) => {
      const container = containerOf(path)
      const read: { line: number; row: SourceRow }[] = []
      const issues: { line: number; message: string }[] = []
      let checked = 0
      for await (const one of readRows(path, container)) {
        checked++
        if ('row' in one) read.push(one)
        else issues.push({ line: one.line, message: one.problem })
        if (checked >= CHECKED_ROWS) break
      }
      const columns = [...new Set(read.flatMap(({ row }) => Object.keys(row)))]
      const guess = detectFormat(
        columns,
        read.map(({ row }) => row)
      )
      const format = asked ?? guess.format
      const mapping =
        given ?? (format === null ? {} : format === guess.format ? guess.mapping : knownRoles(format, columns))
      const converted = read.map(({ line, row }) => ({
        line,
        row,
        made: format === null ? null : convertRow(row, format, mapping)
      }))
      for (const { line, made } of converted)
        if (made !== null && 'problem' in made) issues.push({ line, message: made.problem })
      return {
        container,
        columns,
        format,
        why: asked === undefined || asked === guess.format ? guess.why : 'chosen by you',
        mapping: { ...mapping },
        rows: converted.slice(0, SHOWN_ROWS).map(({ row, made }) => ({
          source: { ...row },
          mapped: made !== null && 'body' in made ? { ...made.body } : null,
          problem: made !== null && 'problem' in made ? made.problem : null
        })),
        checked,
        issues: issues
          .sort((a, b) => a.line - b.line)
          .slice(0, KEPT_ISSUES)
          .map(({ line, message }) => issueAt(container, line, message))
      }
    },
    import: async ({ path, name, format, mapping }, signal) => {
      const container = containerOf(path)
      const leftOut: Issue[] = []
      let leftOutTotal = 0
      const leave = (line: number, message: string): void => {
        leftOutTotal++
        if (leftOut.length < KEPT_ISSUES) leftOut.push(issueAt(container, line, message))
      }
      async function* bodies(): AsyncIterable<Readonly<Record<string, unknown>>> {
        let done = 0
        for await (const one of readRows(path, container)) {
          if (++done % TOLD_ROWS === 0) board.tell(path, { done, of: null })
          signal?.throwIfAborted() // what was written of it is taken back
          const made = 'row' in one ? convertRow(one.row, format, mapping) : one
          if ('problem' in made) leave(one.line, made.problem)
          else yield made.body
        }
      }
      board.begin(path, basename(path), { done: 0, of: null })
      const made = await writeDataset({
        store,
        folder: host.at('datasets'),
        name,
        use: useOf(format),
        format,
        origin: basename(path),
        bodies: bodies(),
        nothing: () =>
          leftOut[0] === undefined
            ? 'the file holds none'
            : `${leftOut[0].line === undefined ? '' : `line ${leftOut[0].line}: `}${leftOut[0].message} (${leftOutTotal} rows like this or otherwise unfit)`
      }).finally(() => board.end(path))
      forgetUpload(uploads, path)
      host.changed('datasets')
      return { dataset: summaryOf(made), leftOut, leftOutTotal }
    },
    rows: ({ id, ...asked }) => {
      const { rows, total } = store.rows(existing(id).number, asked)
      return {
        rows: rows.map(({ index, body }) => ({ index, body: JSON.parse(body) as Record<string, unknown> })),
        total
      }
    },
    lengths: async ({ id, base, sample }, signal) => {
      const { path, purpose } = existing(id)
      const counted = (await host.ask('tokens', { base, file: path, use: purpose, rows: { sample } }, { signal })) as {
        lengths: number[]
        contextLength: number
      }
      return histogramOf(counted.lengths, counted.contextLength)
    },
    tokens: async ({ id, index, base }, signal) => {
      const { path, purpose } = existing(id)
      return (await host.ask('tokens', { base, file: path, use: purpose, rows: { index } }, { signal })) as {
        tokens: { id: number; text: string; trained: boolean }[]
      }
    },
    split: async ({ id, heldOutShare, seed }, signal) => {
      const from = existing(id)
      const count = Math.round(from.rows * heldOutShare)
      if (count < 1 || count >= from.rows)
        throw new AppError(
          'usage',
          `${heldOutShare} of ${from.rows} rows leaves one part empty`,
          'Choose another share.'
        )
      const order = seeded(seed, 'split').shuffle(Array.from({ length: from.rows }, (_, i) => i))
      const held = new Set(order.slice(0, count))
      const names = [`${from.name} (train)`, `${from.name} (held out)`]
      const [train, heldOut] = await parts.make(from, names, ({ place }) => +held.has(place), signal)
      return { train: summaryOf(train!), heldOut: summaryOf(heldOut!) }
    },
    deduplicate: async ({ id }, signal) => {
      const from = existing(id)
      if (from.duplicates === 0) throw new AppError('usage', `${from.name} has no repeated rows`)
      const once = ({ repeats }: { repeats: number }): 0 | null => (repeats === 0 ? 0 : null)
      const [dataset] = await parts.make(from, [`${from.name} (unique)`], once, signal)
      return { dataset: summaryOf(dataset!), removed: from.duplicates }
    },
    making: ({ source, after, waitMs }, signal) => board.progress(source, after, waitMs, signal),
    rename: ({ id, name }) => {
      existing(id)
      store.rename(id, name)
      host.changed('datasets')
      return summaryOf(existing(id))
    },
    export: ({ id }) => {
      const { name, path } = existing(id)
      if (!existsSync(path)) throw new AppError('data', `its file is gone: ${path}`, 'Import it again.')
      if (statSync(path).size > MOST_EXPORT_BYTES)
        throw new AppError('usage', 'the dataset is too large to pass through a page', `Copy its file: ${path}`)
      return { name: `${name.replaceAll(/[^\p{L}\p{N}._-]+/gu, '-')}.jsonl`, text: readFileSync(path, 'utf8') }
    },
    trash: ({ ids }) => {
      for (const id of ids) existing(id)
      for (const id of ids) store.trash(id, Date.now())
      host.changed('datasets')
      return { trashed: ids.length }
    },
    restore: ({ ids }) => {
      for (const id of ids) store.trash(id, null)
      host.changed('datasets')
      return { restored: ids.length }
    },
    deleteForever: ({ ids }) => deleteAll(ids.map(existing)),
    emptyTrash: () => deleteAll(store.list(true))
  }
}

/** JSON may stand in one line and Parquet has none: there a row is named by its number. */
const issueAt = (container: Container, line: number, message: string): Issue =>
  hasLines(container) ? { line, message } : { message: `row ${line}: ${message}` }

const summaryOf = (row: DatasetRecord): DatasetSummary => ({
  id: row.id,
  name: row.name,
  use: row.purpose,
  format: row.format as DatasetSummary['format'],
  rows: row.rows,
  path: row.path,
  origin: row.origin,
  createdAt: row.created_at,
  duplicates: row.duplicates,
  trashedAt: row.trashed_at
})
