import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { writeDataset } from '../../src/main/data/datasets/write.ts'
import { openStore } from '../../src/main/data/store/index.ts'
import { atEnd, workspace } from './workspace.ts'

const rowsOf = function* (count: number, fail = Infinity): Generator<Record<string, unknown>> {
  for (let i = 0; i < count; i++) {
    if (i === fail) throw new Error('the source broke')
    yield { prompt: `How many apples are ${i % 900} and one?`, solution: String((i % 900) + 1) }
  }
}

function opened(folder = workspace()) {
  const store = openStore(folder)
  atEnd(store.opened.close)
  const write = (bodies: Iterable<Record<string, unknown>>, name = 'Apples & pears') =>
    writeDataset({
      store: store.datasets,
      folder,
      name,
      use: 'tasks',
      format: 'prompt_solution',
      origin: 'a.csv',
      bodies,
      nothing: () => 'it is empty'
    })
  return { folder, store, write }
}

test('a dataset is a file that recipes read and rows that are found at once', async () => {
  const { store, write } = opened()
  const made = await write(rowsOf(1200))
  expect(made).toMatchObject({ rows: 1200, duplicates: 300, name: 'Apples & pears' })
  const lines = readFileSync(made.path, 'utf8').trimEnd().split('\n')
  expect(lines).toHaveLength(1200)
  expect(JSON.parse(lines[7]!)).toEqual({ prompt: 'How many apples are 7 and one?', solution: '8' })
  const all = { offset: 0, limit: 5, search: '', onlyDuplicates: false }
  const page = store.datasets.rows(made.number, { ...all, offset: 1195 })
  expect([page.total, page.rows.map(({ index }) => index)]).toEqual([1200, [1195, 1196, 1197, 1198, 1199]])
  const repeats = store.datasets.rows(made.number, { ...all, onlyDuplicates: true })
  expect([repeats.total, repeats.rows[0]?.index]).toEqual([300, 900])
  expect(store.datasets.rows(made.number, { ...all, search: 'apples 423' }).rows.map(({ index }) => index)).toEqual([
    422, 423
  ])
  expect(store.datasets.rows(made.number, { ...all, search: '"; DROP TABLE runs; --' }).total).toBe(0)
  expect(store.datasets.rows(made.number, { ...all, search: 'AND appl' }).total).toBe(1200)
  expect(store.datasets.rows(made.number, { ...all, search: 'apples pears' }).total).toBe(0)
})

test('a source that breaks and one that is empty leave nothing', async () => {
  const { folder, store, write } = opened()
  await expect(write(rowsOf(1200, 1100))).rejects.toThrow('the source broke')
  await expect(write([])).rejects.toThrow('no row is left: it is empty')
  expect(store.datasets.list(false)).toEqual([])
  expect(store.opened.db.prepare('SELECT count(*) FROM dataset_rows').pluck().get()).toBe(0)
  expect(
    store.opened.db.prepare(`SELECT count(*) FROM dataset_text WHERE dataset_text MATCH 'apples'`).pluck().get()
  ).toBe(0)
  expect(readdirSync(folder).filter((name) => name.includes('jsonl'))).toEqual([])
})

test('where even taking back fails, the file goes and the first trouble is told', async () => {
  const { folder, store } = opened()
  const begin: typeof store.datasets.begin = (dataset) => ({
    ...store.datasets.begin(dataset),
    drop: () => {
      throw new Error('database or disk is full')
    }
  })
  const made = writeDataset({
    store: { ...store.datasets, begin },
    folder,
    name: 'half',
    use: 'tasks',
    format: 'gsm8k',
    origin: 'x',
    bodies: rowsOf(1200, 1100),
    nothing: () => ''
  })
  await expect(made).rejects.toThrow('the source broke')
  expect(readdirSync(folder).filter((name) => name.includes('jsonl'))).toEqual([])
})

test('what a crash left half-written is gone at the next start', async () => {
  const { folder, store, write } = opened()
  const whole = await write(rowsOf(10), 'whole')
  const torn = store.datasets.begin({
    id: 'torn',
    name: 'torn',
    purpose: 'tasks',
    format: 'gsm8k',
    path: '/x',
    origin: 'x',
    created_at: 1
  })
  torn.add([{ hash: new Uint8Array(12), repeats: false, body: '{}', said: 'torn words' }])
  expect(store.datasets.get('torn')).toBeUndefined()
  store.opened.close()
  const again = openStore(folder)
  atEnd(again.opened.close)
  expect(again.datasets.list(false).map(({ id }) => id)).toEqual([whole.id])
  expect(again.opened.db.prepare('SELECT count(*) FROM dataset_rows').pluck().get()).toBe(10)
  expect(existsSync(whole.path)).toBe(true)
  writeFileSync(join(folder, 'done'), '')
})

test('the trash keeps a dataset', async () => {
  const { store, write } = opened()
  const { id } = await write(rowsOf(3))
  store.datasets.trash(id, 5)
  expect([store.datasets.list(false).length, store.datasets.list(true).length]).toEqual([0, 1])
  store.datasets.trash(id, null)
  expect(store.datasets.list(false)).toHaveLength(1)
})

test('the count of a search is not one of an earlier dataset that had its number', async () => {
  const { store, write } = opened()
  const asked = { offset: 0, limit: 1, search: 'apples', onlyDuplicates: false }
  const first = await write(rowsOf(10))
  expect([0, 5].map((offset) => store.datasets.rows(first.number, { ...asked, offset }).total)).toEqual([10, 10])
  await store.datasets.delete(first.id)
  const second = await write(rowsOf(4))
  expect(second.number).toBe(first.number)
  expect(store.datasets.rows(second.number, asked).total).toBe(4)
})
