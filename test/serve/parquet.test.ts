/** Parquet files as other programs write them, through the import that the page uses. `parquet/make.py` made them. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { readRows } from '../../src/main/data/datasets/containers.ts'
import { datasetCalls } from '../../src/main/ipc/datasets.ts'
import { openHost } from '../../src/main/ipc/host.ts'
import { atEnd, workspace } from '../store/workspace.ts'

const NOBODY = undefined
const at = (name: string): string => join(import.meta.dirname, 'parquet', name)

function calls(): ReturnType<typeof datasetCalls> {
  const host = openHost({ workspace: workspace(), workerPath: '/nowhere', version: '0', desktop: false })
  atEnd(host.close)
  return datasetCalls(host)
}
const linesOf = (path: string): unknown[] =>
  readFileSync(path, 'utf8')
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as unknown)

test('conversations: lists of structs in several row groups, packed with Snappy', async () => {
  const { preview, import: take, rows } = calls()
  const seen = await preview({ path: at('messages.parquet') }, NOBODY)
  expect(seen).toMatchObject({ container: 'parquet', columns: ['id', 'messages'], format: 'messages', checked: 4 })
  const named = [expect.stringMatching(/^row 3: /), expect.stringMatching(/^row 4: /)]
  expect(seen.issues.map(({ message }) => message)).toEqual(named)
  const asked = { path: at('messages.parquet'), name: 'talk', format: 'messages', mapping: seen.mapping } as const
  const { dataset, leftOut } = await take(asked, NOBODY)
  expect([dataset.rows, dataset.use, leftOut.map(({ message }) => message)]).toEqual([2, 'traces', named])
  const written = linesOf(dataset.path)
  expect(written[1]).toMatchObject({
    messages: [
      { role: 'user', content: 'Ein Grüße-Test: π · 2?' },
      { role: 'assistant', content: '<think>Doppelt.</think>2π' }
    ]
  })
  const found = await rows({ id: dataset.id, offset: 0, limit: 10, search: 'doppelt', onlyDuplicates: false }, NOBODY)
  expect(found.rows.map(({ index }) => index)).toEqual([1])
})

test('tasks: thousands of rows over row groups, dictionaries, pages of the second form, Zstandard', async () => {
  const { preview, import: take } = calls()
  const { format, mapping } = await preview({ path: at('gsm8k.parquet') }, NOBODY)
  expect(format).toBe('gsm8k')
  const { dataset, leftOutTotal } = await take(
    { path: at('gsm8k.parquet'), name: 'sums', format: format!, mapping },
    NOBODY
  )
  expect([dataset.rows, leftOutTotal, dataset.duplicates]).toEqual([2500, 0, 0])
  const written = linesOf(dataset.path) as Record<string, unknown>[]
  expect(written).toHaveLength(2500)
  for (const i of [0, 899, 900, 999, 1000, 2499]) expect(JSON.stringify(written[i])).toContain(`${i} plus 1?`)
})

test('every kind of value becomes what JSON can hold', async () => {
  const rows: unknown[] = []
  for await (const read of readRows(at('kinds.parquet'))) rows.push('row' in read ? read.row : read)
  expect(rows).toEqual([
    {
      prompt: 'a',
      solution: '1',
      big: 2 ** 53 - 1,
      when: '2026-03-01T12:00:00.000Z',
      exact: 1.25,
      bytes: 'café',
      tags: ['x', 'y'],
      share: 0.5
    },
    { prompt: 'b', solution: null, big: -1, when: null, exact: null, bytes: null, tags: [], share: NaN }
  ])
})

test.each(['brotli', 'lz4', 'none'])('packed with %s', async (name) => {
  const read: unknown[] = []
  for await (const one of readRows(at(`${name}.parquet`))) read.push(one)
  expect(read).toHaveLength(3)
  expect(read[2]).toMatchObject({ line: 3, row: { question: 'How much is 2 plus 1?', level: 'easy' } })
})
