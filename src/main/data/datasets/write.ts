/** Writes datasets: the JSONL that recipes read, whole or not at all, and its rows in the store. */
import { createHash, randomBytes } from 'node:crypto'
import { closeSync, fsyncSync, openSync, renameSync, rmSync, writeSync } from 'node:fs'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { AppError } from '../../../shared/errors.ts'
import { partialOf } from '../../files/partial.ts'
import type { DatasetRecord, DatasetStore, NewRow } from '../store/datasets.ts'
import { saidIn } from './formats.ts'
import type { Use } from './formats.ts'

type Body = Readonly<Record<string, unknown>>
type Rows<T> = AsyncIterable<T> | Iterable<T>

export type Destination = {
  readonly store: DatasetStore
  readonly folder: string
  readonly use: Use
  readonly format: string
  readonly origin: string
  /** Why nothing came, for the refusal. */
  readonly nothing: () => string
}
export type WriteRequest = Destination & { readonly name: string; readonly bodies: Rows<Body> }
/** A row of one of several datasets. */
export type PartRow = { readonly part: number; readonly body: Body }

/** Rows in one transaction: few enough that the host stays awake between them. */
const ROWS_AT_ONCE = 500

/** Throws AppError('data') when no row came; then nothing is kept. */
export async function writeDataset({ name, bodies, ...to }: WriteRequest): Promise<DatasetRecord> {
  async function* rows(): AsyncIterable<PartRow> {
    for await (const body of bodies) yield { part: 0, body }
  }
  const [made] = await writeDatasets(to, [name], rows())
  return made!
}

/** One dataset a name, all of them at once or none: throws AppError('data') when no row came for one of them. */
export async function writeDatasets(
  to: Destination,
  names: readonly string[],
  rows: Rows<PartRow>
): Promise<DatasetRecord[]> {
  const files: DatasetFile[] = []
  try {
    for (const name of names) files.push(openFile(to, name))
    for await (const { part, body } of rows) {
      const file = files[part]!
      if (file.add(body) >= ROWS_AT_ONCE) {
        file.flush()
        await nextTurn()
      }
    }
    for (const file of files) file.close()
    return to.store.atOnce(() => files.map((file) => file.finish()))
  } catch (error) {
    for (const file of files) await file.drop()
    throw error
  }
}

type DatasetFile = {
  /** Answers with the number of rows that wait to be written. */
  readonly add: (body: Body) => number
  readonly flush: () => void
  /** The file is whole and in its place. */
  readonly close: () => void
  readonly finish: () => DatasetRecord
  readonly drop: () => Promise<void>
}

function openFile({ store, folder, use, format, origin, nothing }: Destination, name: string): DatasetFile {
  const id = randomBytes(6).toString('hex')
  const path = `${folder}/${slugOf(name)}-${id}.jsonl`
  const writer = store.begin({ id, name, purpose: use, format, path, origin, created_at: Date.now() })
  const partial = partialOf(path)
  const file = openSync(partial, 'w')
  const seen = new Set<string>()
  let waiting: NewRow[] = []
  let rows = 0
  let duplicates = 0
  let open = true
  const flush = (): void => {
    writeSync(file, waiting.map(({ body }) => `${body}\n`).join(''))
    writer.add(waiting)
    waiting = []
  }
  return {
    add: (body) => {
      const said = saidIn(body)
      const hash = createHash('sha1').update(said.toLowerCase().replaceAll(/\s+/g, ' ').trim()).digest().subarray(0, 12)
      const key = hash.toString('latin1')
      const repeats = seen.has(key)
      seen.add(key)
      if (repeats) duplicates++
      rows++
      return waiting.push({ hash, repeats, body: JSON.stringify(body), said })
    },
    flush,
    close: () => {
      flush()
      if (rows === 0)
        throw new AppError(
          'data',
          `no row is left: ${nothing()}`,
          'Nothing was kept. Choose another format or mapping, or mend the file.'
        )
      fsyncSync(file)
      closeSync(file)
      open = false
      renameSync(partial, path)
    },
    finish: () => writer.finish(duplicates),
    drop: async () => {
      if (open) closeSync(file)
      rmSync(partial, { force: true })
      rmSync(path, { force: true })
      try {
        await writer.drop()
      } catch {
        // A full disk has no room for that either: the rows go at the next start. What went wrong first is told.
      }
    }
  }
}

const slugOf = (name: string): string =>
  name
    .toLowerCase()
    .replaceAll(/[^a-z0-9]+/g, '-')
    .replaceAll(/^-|-$/g, '')
    .slice(0, 40) || 'dataset'
