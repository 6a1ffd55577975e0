/** Writes a dataset: the JSONL that recipes read, whole or not at all, and its rows in the store. */
import { createHash, randomBytes } from 'node:crypto'
import { closeSync, fsyncSync, openSync, renameSync, rmSync, writeSync } from 'node:fs'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { AppError } from '../../../shared/errors.ts'
import type { DatasetRecord, DatasetStore, NewRow } from '../store/datasets.ts'
import { saidIn } from './formats.ts'
import type { Use } from './formats.ts'

export type WriteRequest = {
  readonly store: DatasetStore
  readonly folder: string
  readonly name: string
  readonly use: Use
  readonly format: string
  readonly origin: string
  readonly bodies: AsyncIterable<Readonly<Record<string, unknown>>> | Iterable<Readonly<Record<string, unknown>>>
  /** Why nothing came, for the refusal. */
  readonly nothing: () => string
}

/** Rows in one transaction: few enough that the host stays awake between them. */
const ROWS_AT_ONCE = 500

/** Throws AppError('data') when no row came; then nothing is kept. */
export async function writeDataset(request: WriteRequest): Promise<DatasetRecord> {
  const { store, folder, name, use, format, origin, bodies, nothing } = request
  const id = randomBytes(6).toString('hex')
  const path = `${folder}/${slugOf(name)}-${id}.jsonl`
  const writer = store.begin({ id, name, purpose: use, format, path, origin, created_at: Date.now() })
  const file = openSync(`${path}.partial`, 'w')
  const seen = new Set<string>()
  let waiting: NewRow[] = []
  let rows = 0
  let duplicates = 0
  const flush = async (): Promise<void> => {
    writeSync(file, waiting.map(({ body }) => `${body}\n`).join(''))
    writer.add(waiting)
    waiting = []
    await nextTurn()
  }
  let open = true
  try {
    for await (const row of bodies) {
      const said = saidIn(row)
      const hash = createHash('sha1').update(said.toLowerCase().replaceAll(/\s+/g, ' ').trim()).digest().subarray(0, 12)
      const key = hash.toString('latin1')
      const repeats = seen.has(key)
      seen.add(key)
      if (repeats) duplicates++
      rows++
      waiting.push({ hash, repeats, body: JSON.stringify(row), said })
      if (waiting.length >= ROWS_AT_ONCE) await flush()
    }
    await flush()
    if (rows === 0)
      throw new AppError(
        'data',
        `no row is left: ${nothing()}`,
        'Nothing was kept. Choose another format or mapping, or mend the file.'
      )
    fsyncSync(file)
    closeSync(file)
    open = false
    renameSync(`${path}.partial`, path)
    return writer.finish(duplicates)
  } catch (error) {
    if (open) closeSync(file)
    rmSync(`${path}.partial`, { force: true })
    rmSync(path, { force: true })
    try {
      writer.drop()
    } catch {
      // A full disk has no room for that either: the rows go at the next start. What went wrong first is told.
    }
    throw error
  }
}

const slugOf = (name: string): string =>
  name
    .toLowerCase()
    .replaceAll(/[^a-z0-9]+/g, '-')
    .replaceAll(/^-|-$/g, '')
    .slice(0, 40) || 'dataset'
