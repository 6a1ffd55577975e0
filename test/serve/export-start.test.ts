/** What an export is started with: which adapter of a run, and a folder that no other export takes. */
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { openHost } from '../../src/main/ipc/host.ts'
import type { Host } from '../../src/main/ipc/host.ts'
import { runCalls } from '../../src/main/ipc/runs.ts'
import { startRun } from '../../src/main/ipc/run-start.ts'
import { atEnd, newRun, workspace } from '../store/workspace.ts'

function hosted(): Host {
  const workerPath = join(import.meta.dirname, '../fake/worker.ts')
  const host = openHost({ workspace: workspace(), workerPath, version: '0.0.0', desktop: false })
  atEnd(host.close)
  host.queue.pause(true)
  return host
}

/** A demo that ended, with an adapter of each stage and a checkpoint of the second. */
function demo(host: Host): string {
  const folder = host.at('runs', 'demo')
  for (const inside of ['2-sft', '3-grpo/checkpoint-4', '4-evaluate'])
    mkdirSync(join(folder, inside), { recursive: true })
  for (const inside of ['2-sft', '3-grpo', '3-grpo/checkpoint-4'])
    writeFileSync(join(folder, inside, 'adapter.gguf'), '')
  writeFileSync(join(folder, '3-grpo/checkpoint-4/manifest.json'), '{}')
  const { id } = host.store.runs.add(newRun({ kind: 'demo', name: 'Short demo', folder }))
  const stages = JSON.stringify({ teaching: 0, sharpening: 10, measuring: 20 })
  host.store.runs.change(id, { state: 'ended', how: 'done', stages })
  return id
}

const asked = (row: { input: string }): unknown => JSON.parse(row.input)

test('two exports of one run within a minute have a folder each', async () => {
  const host = hosted()
  const run = demo(host)
  const rows = [1, 2, 3].map(() => startRun(host, { kind: 'export', run, options: {} }))
  const folders = (await Promise.all(rows)).map(({ folder }) => folder)
  expect(new Set(folders).size).toBe(3)
  expect(folders[1]).toBe(`${folders[0]!}-2`)
})

test('two prepared copies of one base within a minute have a file each', async () => {
  const host = hosted()
  const base = '/models/base.gguf'
  const first = await startRun(host, { kind: 'prepare', base, options: {} })
  const second = await startRun(host, { kind: 'prepare', base, options: {} })
  expect(asked(first)).not.toEqual(asked(second))
})

test('an export takes any adapter of the run, and none of another', async () => {
  const host = hosted()
  const run = demo(host)
  const { adapters } = runCalls(host).get({ id: run }, undefined) as {
    adapters: { stage: string; step: number | null; path: string }[]
  }
  expect(adapters.map(({ stage, step }) => [stage, step])).toEqual([
    ['grpo', null],
    ['sft', null],
    ['grpo', 14]
  ])
  const folder = host.at('runs', 'demo')
  const last = await startRun(host, { kind: 'export', run, options: {} })
  expect(asked(last)).toMatchObject({ runDir: join(folder, '3-grpo') })
  const sft = await startRun(host, { kind: 'export', run, options: {}, adapter: adapters[1]!.path })
  expect(asked(sft)).toMatchObject({
    runDir: join(folder, '2-sft'),
    input: { adapter: join(folder, '2-sft/adapter.gguf') }
  })
  expect(sft.name).toBe('Export of Short demo: sft')
  const saved = await startRun(host, { kind: 'export', run, options: {}, adapter: adapters[2]!.path })
  expect(asked(saved)).toMatchObject({ runDir: join(folder, '3-grpo') })
  const { rows } = await runCalls(host).list(
    { offset: 0, limit: 10, search: '', kind: 'export', trashed: false },
    undefined
  )
  expect(rows.map(({ adapter }) => adapter)).toEqual([adapters[2]!.path, adapters[1]!.path, null])
  const foreign = startRun(host, { kind: 'export', run, options: {}, adapter: '/etc/passwd' })
  await expect(foreign).rejects.toMatchObject({ code: 'usage', message: '/etc/passwd is no adapter of Short demo' })
})
