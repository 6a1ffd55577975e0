/** A run that trained every weight: its model stands where adapters stand, among the bases, and an export takes it. */
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { stringify } from 'yaml'
import { openHost } from '../../src/main/ipc/host.ts'
import type { Host } from '../../src/main/ipc/host.ts'
import { modelCalls } from '../../src/main/ipc/models.ts'
import { runCalls } from '../../src/main/ipc/runs.ts'
import { startRun } from '../../src/main/ipc/run-start.ts'
import { summaryOf } from '../../src/main/ipc/run-summary.ts'
import type { AdapterFile, ModelFile } from '../../src/shared/contract/models.ts'
import type { Checkpoint, RunAdapter } from '../../src/shared/contract/runs.ts'
import { tinyGgufHeader } from '../fake/gguf-header.ts'
import { atEnd, newRun, workspace } from '../store/workspace.ts'

function hosted(): Host {
  const workerPath = join(import.meta.dirname, '../fake/worker.ts')
  const host = openHost({ workspace: workspace(), workerPath, version: '0.0.0', desktop: false })
  atEnd(host.close)
  host.queue.pause(true)
  return host
}

/** An SFT run of every weight that ended, with a checkpoint. */
function trained(host: Host): { id: string; folder: string; base: string } {
  const [folder, base] = [host.at('runs', 'whole'), join(host.at('models'), 'small.gguf')]
  mkdirSync(join(folder, 'checkpoint-4'), { recursive: true })
  mkdirSync(host.at('models'), { recursive: true })
  for (const path of [base, join(folder, 'model.gguf'), join(folder, 'checkpoint-4', 'model.gguf')])
    writeFileSync(path, tinyGgufHeader(1024))
  writeFileSync(join(folder, 'checkpoint-4', 'manifest.json'), '{}')
  const recipe = { kind: 'sft', finetuning_type: 'full', base }
  const { id } = host.store.runs.add(
    newRun({ kind: 'sft', name: 'Every weight', folder, base, input: JSON.stringify({ input: { recipe } }) })
  )
  host.store.runs.change(id, { state: 'ended', how: 'done' })
  return { id, folder, base }
}

type List = { models: ModelFile[]; adapters: AdapterFile[] }

test('it is listed under its base, and as a base of its own by its run’s name', async () => {
  const host = hosted()
  const { id, folder, base } = trained(host)
  const { models, adapters } = (await modelCalls(host).list({}, undefined)) as List
  const path = join(folder, 'model.gguf')
  expect(adapters).toEqual([
    expect.objectContaining({ path, whole: true, run: id, base, lineage: ['small', 'Every weight'] })
  ])
  expect(models.find((one) => one.path === path)).toMatchObject({ name: 'Every weight', source: 'trained here' })
  const inspected = (await modelCalls(host).inspect({ path }, undefined)) as { model: ModelFile }
  expect(inspected.model.name).toBe('Every weight')
  expect(summaryOf(host, host.store.runs.get(id)!).whole).toBe(true)
})

test('it is listed once where its folder is searched too', async () => {
  const host = hosted()
  const { folder } = trained(host)
  host.store.settings.set('settings', { ...host.settings(), modelFolders: [folder] })
  expect(host.settings().modelFolders).toEqual([folder])
  const { models } = (await modelCalls(host).list({}, undefined)) as List
  const own = models.filter(({ path }) => path === join(folder, 'model.gguf'))
  expect(own).toMatchObject([{ source: 'trained here' }])
})

test('its run offers it and its checkpoint, and an export takes either', async () => {
  const host = hosted()
  const { id, folder } = trained(host)
  const run = runCalls(host).get({ id }, undefined) as { adapters: RunAdapter[]; checkpoints: Checkpoint[] }
  const saved = join(folder, 'checkpoint-4', 'model.gguf')
  expect(run.adapters).toEqual([
    { path: join(folder, 'model.gguf'), whole: true, stage: '', step: null },
    { path: saved, whole: true, stage: '', step: 4 }
  ])
  expect(run.checkpoints).toMatchObject([{ step: 4, adapter: null, model: saved }])
  const asked = await startRun(host, { kind: 'export', run: id, adapter: saved, options: { quantize: ['Q8_0'] } })
  expect(JSON.parse(asked.input)).toMatchObject({ input: { adapter: saved, quantize: ['Q8_0'] }, runDir: folder })
  const foreign = startRun(host, { kind: 'export', run: id, adapter: join(folder, 'none.gguf'), options: {} })
  await expect(foreign).rejects.toThrow(/is no adapter of/)
})

test('what is trained on it descends from its run, and is not called “model”', async () => {
  const host = hosted()
  const { id, folder } = trained(host)
  const tasks = [{ family: 'arithmetic', difficulty: 1, count: 4 }]
  const yaml = stringify({ kind: 'grpo', base: join(folder, 'model.gguf'), tasks, max_completion_length: 64 })
  const next = await startRun(host, { kind: 'recipe', yaml })
  expect(next).toMatchObject({ parent: id, name: 'GRPO of whole' })
  mkdirSync(next.folder, { recursive: true })
  writeFileSync(join(next.folder, 'adapter.gguf'), '')
  const { adapters } = (await modelCalls(host).list({}, undefined)) as List
  expect(adapters.find(({ run }) => run === next.id)).toMatchObject({
    whole: false,
    lineage: ['small', 'Every weight', 'GRPO of whole']
  })
})
