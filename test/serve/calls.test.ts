/** Calls of the page at their edges: where what it asks for goes, and what it no longer waits for. */
import { existsSync, mkdirSync, readdirSync, utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { datasetCalls } from '../../src/main/ipc/datasets.ts'
import { openHost } from '../../src/main/ipc/host.ts'
import type { Host } from '../../src/main/ipc/host.ts'
import { modelCalls } from '../../src/main/ipc/models.ts'
import { startRun } from '../../src/main/ipc/run-start.ts'
import { atEnd, newRun, workspace } from '../store/workspace.ts'

const NOBODY = undefined

function opened(): Host {
  const host = openHost({ workspace: workspace(), workerPath: '/nowhere', version: '0', desktop: false })
  atEnd(host.close)
  host.queue.pause(true)
  return host
}

test('exports and preparations asked for in one moment each have a place of their own', async () => {
  const host = opened()
  const { id: run } = host.queue.add(newRun({ name: 'The one', folder: host.at('runs', 'one') }))
  const exports = [
    await startRun(host, { kind: 'export', run, options: {} }),
    await startRun(host, { kind: 'export', run, options: { merge: 'auto' } })
  ]
  expect(new Set(exports.map(({ folder }) => folder)).size).toBe(2)
  const base = host.at('b.gguf')
  const prepared = [
    await startRun(host, { kind: 'prepare', base, options: {} }),
    await startRun(host, { kind: 'prepare', base, options: { think: true } })
  ]
  const places = prepared.map(({ input }) => (JSON.parse(input) as { input: { to: string } }).input.to)
  expect(new Set(places).size).toBe(2)
})

test('an export into a folder that holds something is refused when it is asked for', async () => {
  const host = opened()
  const { id: run } = host.queue.add(newRun({ folder: host.at('runs', 'one') }))
  const to = join(workspace(), 'mine')
  mkdirSync(to)
  expect((await startRun(host, { kind: 'export', run, to, options: {} })).folder).toBe(to)
  writeFileSync(join(to, 'thesis.txt'), '')
  await expect(startRun(host, { kind: 'export', run, to, options: {} })).rejects.toThrow(`${to} is not empty`)
  await expect(startRun(host, { kind: 'export', run, to: join(to, 'thesis.txt'), options: {} })).rejects.toThrow(
    'is a file'
  )
})

test('a recipe whose folder a waiting run was given is refused', async () => {
  const host = opened()
  const folder = workspace()
  const train = join(folder, 'train.jsonl')
  writeFileSync(train, '{}\n')
  const base = join(import.meta.dirname, '../../resources/base/base.gguf')
  const to = join(folder, 'out')
  const yaml = `kind: sft\nbase: ${base}\ntrain: ${train}\noutput_dir: ${to}\nmax_length: 512\n`
  const first = await startRun(host, { kind: 'recipe', yaml })
  expect(first.folder).toBe(to)
  await expect(startRun(host, { kind: 'recipe', yaml })).rejects.toThrow('already holds a run')
  host.queue.stop(first.id, 'now')
  expect((await startRun(host, { kind: 'recipe', yaml })).folder).toBe(to)
})

test('a download is called by its file, without what its address says besides', async () => {
  const host = opened()
  const { download } = modelCalls(host)
  const names = ['owner/tiny-GGUF:Q4_K_M', `https://h.org/a/m.gguf?download=true#sha256=${'ab'.repeat(32)}`]
  const runs = []
  for (const from of names) runs.push(await download({ from }, NOBODY))
  expect(runs.map(({ run }) => host.store.runs.get(run)?.name)).toEqual([
    'Download tiny-GGUF:Q4_K_M',
    'Download m.gguf'
  ])
})

test('a split and a deduplication tell how far they are; cancelled, they leave nothing of any part', async () => {
  const host = opened()
  const call = datasetCalls(host)
  const path = join(workspace(), 'a.jsonl')
  const rows = Array.from({ length: 5000 }, (_, i) => JSON.stringify({ prompt: `p${i % 4000}`, solution: '1' }))
  writeFileSync(path, rows.join('\n'))
  const mapping = { prompt: 'prompt', solution: 'solution' }
  const { dataset } = await call.import({ path, name: 'a', format: 'prompt_solution', mapping }, NOBODY)
  const { id } = dataset
  const kept = (): number => Number(host.store.opened.db.prepare('SELECT count(*) FROM dataset_rows').pluck().get())
  const asked = [
    (signal?: AbortSignal) => call.split({ id, heldOutShare: 0.5, seed: 0 }, signal),
    (signal?: AbortSignal) => call.deduplicate({ id }, signal)
  ]
  expect(await call.making({ source: id, after: -1, waitMs: 0 }, NOBODY)).toBeNull()
  for (const ask of asked) {
    const stop = new AbortController()
    const going = ask(stop.signal)
    const ended = expect(going).rejects.toMatchObject({ name: 'AbortError' })
    const first = await call.making({ source: id, after: -1, waitMs: 0 }, NOBODY)
    expect(first).toEqual({ done: 0, of: 5000 })
    await expect(ask()).rejects.toThrow('already')
    let done = 0
    while (done < 3000) done = (await call.making({ source: id, after: done, waitMs: 5000 }, NOBODY))!.done
    stop.abort()
    await ended
    expect((await call.list({ trashed: false }, NOBODY)).map(({ name }) => name)).toEqual(['a'])
    expect(readdirSync(host.at('datasets'))).toHaveLength(1)
    expect(kept()).toBe(5000)
    expect(await call.making({ source: id, after: -1, waitMs: 0 }, NOBODY)).toBeNull()
  }
  expect(await asked[0]!()).toMatchObject({ train: { rows: 2500 }, heldOut: { rows: 2500 } })
  expect(await asked[1]!()).toMatchObject({ dataset: { rows: 4000, duplicates: 0 }, removed: 1000 })
})

test('an import tells how many rows it has read; the same file is not imported twice at once', async () => {
  const call = datasetCalls(opened())
  const path = join(workspace(), 'a.jsonl')
  const rows = Array.from({ length: 3000 }, (_, i) => JSON.stringify({ prompt: `p${i}`, solution: '1' }))
  writeFileSync(path, rows.join('\n'))
  const mapping = { prompt: 'prompt', solution: 'solution' }
  const ask = () => call.import({ path, name: 'a', format: 'prompt_solution', mapping }, NOBODY)
  const going = ask()
  expect(await call.making({ source: path, after: -1, waitMs: 0 }, NOBODY)).toEqual({ done: 0, of: null })
  await expect(ask()).rejects.toThrow('already')
  let done = 0
  while (done < 2500) done = (await call.making({ source: path, after: done, waitMs: 5000 }, NOBODY))!.done
  expect((await going).dataset.rows).toBe(3000)
  expect(await call.making({ source: path, after: -1, waitMs: 0 }, NOBODY)).toBeNull()
})

test('an import that nobody waits for any more leaves nothing', async () => {
  const host = opened()
  const path = join(workspace(), 'a.jsonl')
  const rows = Array.from({ length: 3000 }, (_, i) => JSON.stringify({ prompt: `p${i}`, solution: '1' }))
  writeFileSync(path, rows.join('\n'))
  const stop = new AbortController()
  const call = datasetCalls(host)
  const asked = {
    path,
    name: 'a',
    format: 'prompt_solution',
    mapping: { prompt: 'prompt', solution: 'solution' }
  } as const
  const going = call.import(asked, stop.signal)
  setImmediate(() => stop.abort())
  await expect(going).rejects.toMatchObject({ name: 'AbortError' })
  expect(await call.list({ trashed: false }, NOBODY)).toEqual([])
  expect(readdirSync(host.at('datasets'))).toEqual([])
})

test('a dropped file goes once its rows are kept, or after a day that nobody imports it; a person’s own stays', async () => {
  const host = opened()
  const row = JSON.stringify({ prompt: 'p', solution: '1' })
  const base64 = Buffer.from(row).toString('base64')
  const call = datasetCalls(host)
  const piece = { name: 'a.jsonl', offset: 0, base64, last: true }
  const { path } = await call.upload({ ...piece, upload: 'first-one' }, NOBODY)
  const own = join(workspace(), 'own.jsonl')
  writeFileSync(own, row)
  const asked = {
    name: 'a',
    format: 'prompt_solution',
    mapping: { prompt: 'prompt', solution: 'solution' }
  } as const
  for (const from of [path!, own]) await call.import({ ...asked, path: from }, NOBODY)
  expect([existsSync(path!), existsSync(own)]).toEqual([false, true])

  const { path: left } = await call.upload({ ...piece, upload: 'looked-at-only' }, NOBODY)
  await call.upload({ ...piece, upload: 'broken-off', last: false }, NOBODY)
  const uploads = host.at('uploads')
  expect(readdirSync(uploads)).toHaveLength(2)
  datasetCalls(host)
  expect(readdirSync(uploads)).toHaveLength(2)
  const yesterday = new Date(Date.now() - 25 * 3600_000)
  for (const name of readdirSync(uploads)) utimesSync(join(uploads, name), yesterday, yesterday)
  datasetCalls(host)
  expect(existsSync(left!)).toBe(false)
  expect(readdirSync(uploads)).toEqual([])
})
