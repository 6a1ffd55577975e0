/** Files of rows: JSONL, JSON, CSV, Parquet, read as a stream of rows with where each stood. Bad rows come as problems. */
import { closeSync, createReadStream, openSync, readFileSync, readSync, statSync } from 'node:fs'
import { basename, extname } from 'node:path'
import { createInterface } from 'node:readline'
import { asyncBufferFromFile, parquetMetadataAsync, parquetReadObjects } from 'hyparquet'
import { compressors } from 'hyparquet-compressors'
import Papa from 'papaparse'
import { AppError } from '../../../shared/errors.ts'

export type Container = 'jsonl' | 'json' | 'csv' | 'parquet'
export type SourceRow = Readonly<Record<string, unknown>>
/** `line` from 1: where the row begins; in a file without lines (`hasLines`) the row's number. */
export type Read =
  { readonly line: number; readonly row: SourceRow } | { readonly line: number; readonly problem: string }

/** A JSON file is parsed in one piece. */
const MOST_JSON_BYTES = 512 * 2 ** 20
const PARQUET_ROWS = 1000
const CSV_ROWS = 1000
/** No thought is as long as this. */
const MOST_CELL_BYTES = 4 * 2 ** 20

const BY_NAME: Readonly<Record<string, Container>> = {
  '.jsonl': 'jsonl',
  '.ndjson': 'jsonl',
  '.json': 'json',
  '.csv': 'csv',
  '.tsv': 'csv',
  '.parquet': 'parquet'
}

/** By what the file begins with, then by its name. Throws AppError('data') for a missing, empty or unknown file. */
export function containerOf(path: string): Container {
  const stat = statSync(path, { throwIfNoEntry: false })
  if (stat === undefined) throw new AppError('data', `no such file: ${path}`)
  if (!stat.isFile()) throw new AppError('data', `${path} is a folder, a file is needed`)
  if (stat.size === 0) throw new AppError('data', `${path} is empty`)
  const head = Buffer.alloc(Math.min(4096, stat.size))
  const file = openSync(path, 'r')
  try {
    readSync(file, head, 0, head.length, 0)
  } finally {
    closeSync(file)
  }
  if (head.subarray(0, 4).toString('latin1') === 'PAR1') return 'parquet'
  const start = head
    .toString('utf8')
    .replace(/^\uFEFF/, '')
    .trimStart()
  const named = BY_NAME[extname(path).toLowerCase()]
  if (start.startsWith('[')) return 'json'
  if (start.startsWith('{')) return named === 'json' && !/^\{.*\}\s*\r?\n\s*\{/.test(start) ? 'json' : 'jsonl'
  if (named === 'csv' || named === 'jsonl') return named
  if (head.includes(0))
    throw new AppError(
      'data',
      `${basename(path)} is no text file`,
      'JSONL, JSON, CSV and Parquet files can be imported.'
    )
  throw new AppError(
    'data',
    `${basename(path)} is of no form that is known here`,
    'JSONL, JSON, CSV and Parquet files can be imported.'
  )
}

const READERS: { readonly [C in Container]: (path: string) => AsyncGenerator<Read> } = {
  jsonl: readJsonl,
  json: readJson,
  csv: readCsv,
  parquet: readParquet
}

/** Whether a row of such a file is found by its line. */
export const hasLines = (container: Container): boolean => container === 'jsonl' || container === 'csv'

/** Every row of a file in order. Memory stays bounded save for JSON, which is one piece. */
export const readRows = (path: string, container: Container = containerOf(path)): AsyncGenerator<Read> =>
  READERS[container](path)

async function* readJsonl(path: string): AsyncGenerator<Read> {
  let line = 0
  for await (const raw of createInterface({ input: createReadStream(path, 'utf8'), crlfDelay: Infinity })) {
    line++
    const text = (line === 1 ? raw.replace(/^\uFEFF/, '') : raw).trim()
    if (text === '') continue
    yield rowOf(line, () => JSON.parse(text))
  }
}

async function* readJson(path: string): AsyncGenerator<Read> {
  if (statSync(path).size > MOST_JSON_BYTES)
    throw new AppError(
      'data',
      `${basename(path)} is too large for JSON in one piece`,
      'Write it as JSONL, one row a line.'
    )
  let value: unknown
  try {
    value = JSON.parse(readFileSync(path, 'utf8').replace(/^\uFEFF/, ''))
  } catch (cause) {
    throw new AppError('data', `${basename(path)} is not JSON: ${(cause as Error).message}`, undefined, { cause })
  }
  const list = Array.isArray(value) ? value : listWithin(value)
  for (const [i, row] of list.entries()) yield rowOf(i + 1, () => row)
}

/** Some files wrap their rows: `{ "data": [...] }`; a single conversation is a row of its own. */
function listWithin(value: unknown): readonly unknown[] {
  if (typeof value !== 'object' || value === null) return [value]
  const lists = Object.entries(value).filter(
    ([name, one]) => Array.isArray(one) && !['messages', 'conversations'].includes(name)
  )
  return lists.length === 1 ? (lists[0]![1] as unknown[]) : [value]
}

async function* readCsv(path: string): AsyncGenerator<Read> {
  let names: readonly string[] | undefined
  let next = 1
  for await (const { data: cells, errors } of csvRows(path, () => next)) {
    const line = next
    next += cells.reduce((sum, cell) => sum + lineBreaks(cell), 1)
    const broken = errors.map(({ code }) => BROKEN_QUOTES[code]).find((words) => words !== undefined)
    if (broken !== undefined) yield { line, problem: broken }
    else if (cells.every((cell) => cell.trim() === '')) continue
    else if (names === undefined) names = columnNames(cells)
    else if (cells.length > names.length)
      yield { line, problem: `${cells.length - names.length} more cells than the head has columns` }
    else yield { line, row: Object.fromEntries(cells.map((cell, i) => [names![i]!, cell])) }
  }
}

const BROKEN_QUOTES: Readonly<Record<string, string>> = {
  MissingQuotes: 'a quote is opened here and never closed: all that follows, to the end of the file, belongs to it',
  InvalidQuotes: 'a quote within a quoted cell is not doubled: what follows cannot be told from the cell'
}
const lineBreaks = (text: string): number => text.match(/\r\n|\r|\n/g)?.length ?? 0

/** A name that comes again is numbered: no column is lost. */
const columnNames = (cells: readonly string[]): string[] =>
  cells
    .map((cell) => cell.replace(/^\uFEFF/, ''))
    .map((name, i, all) =>
      all.indexOf(name) === i ? name : `${name}_${all.slice(0, i).filter((n) => n === name).length}`
    )

/**
 * The rows of a CSV file as the parser finds them, with its errors, which its own stream does not tell. A cell without an end
 * would have the rest of the file read again with every piece of it: past `MOST_CELL_BYTES` it is refused, by `line`.
 */
async function* csvRows(path: string, line: () => number): AsyncGenerator<Papa.ParseStepResult<string[]>> {
  let found: Papa.ParseStepResult<string[]>[] = []
  let failure: Error | undefined
  let over = false
  let pending = 0
  let wake = (): void => undefined
  const source = createReadStream(path, 'utf8')
  source.on('data', (chunk) => {
    pending += chunk.length
    if (pending > MOST_CELL_BYTES)
      source.destroy(new AppError('data', `line ${line()}: a cell has no end`, CLOSE_QUOTE))
  })
  Papa.parse<string[]>(source, {
    step: (row) => {
      pending = 0
      found.push(row)
      if (found.length >= CSV_ROWS) source.pause() // the parser's own pause loses its place
      wake()
    },
    complete: () => {
      over = true
      wake()
    },
    error: (error) => {
      failure = error
      wake()
    }
  })
  try {
    while (true) {
      const rows = found
      found = []
      yield* rows
      if (failure !== undefined) throw failure
      if (over) return yield* found
      const woken = new Promise<void>((resolve) => (wake = resolve))
      source.resume()
      if (found.length === 0 && !over && failure === undefined) await woken
    }
  } finally {
    source.destroy()
  }
}
const CLOSE_QUOTE = 'A quote that is opened there is not closed. Close it, or double the quotes inside cells.'

async function* readParquet(path: string): AsyncGenerator<Read> {
  const file = await asyncBufferFromFile(path)
  const refuse = (cause: unknown): AppError =>
    new AppError('data', `${basename(path)} cannot be read as Parquet: ${(cause as Error).message}`, undefined, {
      cause
    })
  const metadata = await parquetMetadataAsync(file).catch((cause: unknown) => {
    throw refuse(cause)
  })
  const total = Number(metadata.num_rows)
  for (let rowStart = 0; rowStart < total; rowStart += PARQUET_ROWS) {
    const rowEnd = Math.min(total, rowStart + PARQUET_ROWS)
    const rows = await parquetReadObjects({ file, metadata, compressors, rowStart, rowEnd }).catch((cause: unknown) => {
      throw refuse(cause)
    })
    for (const [i, row] of rows.entries()) yield rowOf(rowStart + i + 1, () => plain(row))
  }
}

/** As JSON can hold it. */
function plain(value: unknown): unknown {
  if (typeof value === 'bigint') return Number(value)
  if (value instanceof Date) return value.toISOString()
  if (ArrayBuffer.isView(value)) return Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString('utf8')
  if (Array.isArray(value)) return value.map(plain)
  if (typeof value === 'object' && value !== null)
    return Object.fromEntries(Object.entries(value).map(([key, one]) => [key, plain(one)]))
  return value
}

function rowOf(line: number, read: () => unknown): Read {
  try {
    const value = read()
    return typeof value === 'object' && value !== null && !Array.isArray(value)
      ? { line, row: value as SourceRow }
      : { line, problem: 'not a row of named values' }
  } catch (error) {
    return { line, problem: `not JSON: ${(error as Error).message}` }
  }
}
