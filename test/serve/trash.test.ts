/** What is thrown away: back while it is in the trash, and gone with its files when a person says so. */
import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test, vi } from 'vitest'
import { writeDataset } from '../../src/main/data/datasets/write.ts'
import { datasetCalls } from '../../src/main/ipc/datasets.ts'
import { openHost } from '../../src/main/ipc/host.ts'
import type { Host } from '../../src/main/ipc/host.ts'
import { runCalls } from '../../src/main/ipc/runs.ts'
import type { DatasetRecord } from '../../src/main/data/store/datasets.ts'
import { atEnd, newRun, workspace } from '../store/workspace.ts'

const NOBODY = undefined

function opened(): { host: Host; dataset: (name: string, rows?: number) => Promise<DatasetRecord> } {
  const host = openHost({ workspace: workspace(), workerPath: '/nowhere', version: '0', desktop: false })
  atEnd(host.close)
  host.queue.pause(true)
  const dataset = (name: string, rows = 3): Promise<DatasetRecord> =>
    writeDataset({
      store: host.store.datasets,
      folder: host.at('datasets'),
      name,
      use: 'tasks',
      format: 'prompt_solution',
      origin: 'a.csv',
      bodies: Array.from({ length: rows }, (_, i) => ({ prompt: `${name} ${i}?`, solution: String(i) })),
      nothing: () => ''
    })
  return { host, dataset }
}
const count = (host: Host, table: string): unknown =>
  host.store.opened.db.prepare(`SELECT count(*) FROM ${table}`).pluck().get()

test('a dataset in the trash is deleted with its file, its rows and its words; others stay', async () => {
  const { host, dataset } = opened()
  const { trash, deleteForever, list } = datasetCalls(host)
  const gone = await dataset('apples', 12_000)
  const stays = await dataset('pears')
  await expect(async () => deleteForever({ ids: [gone.id] }, NOBODY)).rejects.toThrow('apples is not in the trash')
  await trash({ ids: [gone.id] }, NOBODY)
  await expect(async () => deleteForever({ ids: [gone.id, stays.id] }, NOBODY)).rejects.toThrow('pears is not in the')
  expect(existsSync(gone.path)).toBe(true)
  expect(await deleteForever({ ids: [gone.id] }, NOBODY)).toEqual({ deleted: 1 })
  expect([existsSync(gone.path), existsSync(stays.path)]).toEqual([false, true])
  expect(await list({ trashed: true }, NOBODY)).toEqual([])
  expect([count(host, 'datasets'), count(host, 'dataset_rows'), count(host, 'dataset_text')]).toEqual([1, 3, 3])
  await expect(async () => deleteForever({ ids: [gone.id] }, NOBODY)).rejects.toThrow('there is no such dataset')
})

test('the whole trash of datasets goes at once, unless a run that waits reads one of them', async () => {
  const { host, dataset } = opened()
  const { trash, emptyTrash, list } = datasetCalls(host)
  const [a, b] = [await dataset('a'), await dataset('b')]
  await dataset('c')
  const input = JSON.stringify({ input: { recipe: { train: b.path } } })
  host.queue.add(newRun({ id: 'reader', name: 'the reader', input }))
  await trash({ ids: [a.id, b.id] }, NOBODY)
  await expect(async () => emptyTrash({}, NOBODY)).rejects.toThrow('the reader reads b; nothing was deleted')
  expect(existsSync(a.path)).toBe(true)
  host.queue.stop('reader', 'now')
  expect(await emptyTrash({}, NOBODY)).toEqual({ deleted: 2 })
  expect([existsSync(a.path), existsSync(b.path)]).toEqual([false, false])
  expect((await list({ trashed: false }, NOBODY)).map(({ name }) => name)).toEqual(['c'])
})

test('a dataset whose deletion was cut short is gone at the next start', async () => {
  const { host, dataset } = opened()
  const { number } = await dataset('half')
  host.store.opened.db.prepare('UPDATE datasets SET ready = 0 WHERE number = ?').run(number)
  const { workspace: folder } = host.options
  await host.close()
  const again = openHost({ workspace: folder, workerPath: '/nowhere', version: '0', desktop: false })
  atEnd(again.close)
  expect([count(again, 'datasets'), count(again, 'dataset_rows'), count(again, 'dataset_text')]).toEqual([0, 0, 0])
})

test('the whole trash of runs goes with the folders inside the workspace; those elsewhere are the person’s', async () => {
  const { host } = opened()
  const { trash, emptyTrash, list } = runCalls(host)
  const elsewhere = join(workspace(), 'mine')
  const folders = [host.at('runs', 'one'), host.at('runs', 'kept'), elsewhere]
  const ids = folders.map((folder) => {
    mkdirSync(folder)
    writeFileSync(join(folder, 'adapter.gguf'), 'x')
    return host.queue.add(newRun({ folder })).id
  })
  await trash({ ids: [ids[0]!, ids[2]!] }, NOBODY)
  expect(await emptyTrash({}, NOBODY)).toEqual({ deleted: 2 })
  expect(folders.map((folder) => existsSync(folder))).toEqual([false, true, true])
  const asked = { offset: 0, limit: 10, search: '' }
  expect((await list({ ...asked, trashed: true }, NOBODY)).total).toBe(0)
  expect((await list({ ...asked, trashed: false }, NOBODY)).rows.map(({ id }) => id)).toEqual([ids[1]])
})

test('a run whose files a run that waits reads is not deleted, nor any beside it', async () => {
  const { host } = opened()
  const { trash, emptyTrash, deleteForever } = runCalls(host)
  const folders = [host.at('runs', 'one'), host.at('runs', 'one-2')]
  const ids = folders.map((folder) => {
    mkdirSync(folder)
    return host.queue.add(newRun({ folder })).id
  })
  await trash({ ids }, NOBODY)
  const input = JSON.stringify({ input: { recipe: { adapter: join(folders[1]!, 'adapter.gguf') } } })
  host.queue.add(newRun({ id: 'reader', name: 'the reader', input }))
  await expect(async () => emptyTrash({}, NOBODY)).rejects.toThrow(/^the reader reads .*; nothing was deleted$/)
  expect(folders.map((folder) => existsSync(folder))).toEqual([true, true])
  expect(await deleteForever({ ids: [ids[0]!] }, NOBODY)).toEqual({ deleted: 1 })
  const copies = JSON.stringify({ input: {}, runDir: folders[1] })
  host.queue.add(newRun({ id: 'export', name: 'the export', kind: 'export', input: copies }))
  host.queue.stop('reader', 'now')
  await expect(async () => emptyTrash({}, NOBODY)).rejects.toThrow('the export reads')
  host.queue.stop('export', 'now')
  expect(await emptyTrash({}, NOBODY)).toEqual({ deleted: 1 })
})

test('what is being deleted cannot be taken back halfway', async () => {
  const { host, dataset } = opened()
  const { trash, restore, emptyTrash, list } = datasetCalls(host)
  const ids = [(await dataset('a', 12_000)).id, (await dataset('b')).id]
  await trash({ ids }, NOBODY)
  const going = emptyTrash({}, NOBODY)
  await restore({ ids }, NOBODY)
  expect(await list({ trashed: false }, NOBODY)).toEqual([])
  expect(await going).toEqual({ deleted: 2 })
})

test('a download that broke off can go on; put into the trash, what it fetched is gone', async () => {
  const { host } = opened()
  const { trash, restore, get } = runCalls(host)
  const folder = host.at('runs', 'download')
  mkdirSync(folder)
  writeFileSync(join(folder, 'model.gguf.ipull'), 'half')
  const { id } = host.queue.add(newRun({ kind: 'download', folder }))
  // The worker cannot even start: the network's jobs do not wait for the queue.
  const ended = async (): Promise<void> =>
    expect((await get({ id }, NOBODY)).run.state).toMatchObject({
      kind: 'ended',
      resumable: true,
      hint: expect.stringContaining('What was fetched is kept')
    })
  await vi.waitFor(ended, { timeout: 10_000 })
  await trash({ ids: [id] }, NOBODY)
  expect(existsSync(folder)).toBe(false)
  await restore({ ids: [id] }, NOBODY)
  expect((await get({ id }, NOBODY)).run.state).toMatchObject({ kind: 'ended', resumable: false, hint: null })
})
