/** How a run uses memory changes nothing of what it learns: rehearsed or not, sampler and trainer together or in turn. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, expect, test } from 'vitest'
import { createAdapter } from '../../src/main/engine/adapter.ts'
import { openBackend } from '../../src/main/engine/backend.ts'
import { loadModel } from '../../src/main/engine/model.ts'
import { Parameters } from '../../src/main/engine/parameters.ts'
import { readF32 } from '../../src/main/engine/tensor.ts'
import { Trainer } from '../../src/main/engine/trainer.ts'
import { latestCheckpoint } from '../../src/main/training/checkpoint.ts'
import { runGrpo } from '../../src/main/training/grpo.ts'
import { rehearse } from '../../src/main/training/rehearsal.ts'
import { runSft } from '../../src/main/training/sft.ts'
import type { RunEvent } from '../../src/shared/event.ts'
import { GrpoRecipe, LoraSettings, SftRecipe } from '../../src/shared/recipe.ts'
import { temporaryFolder } from './folder.ts'
import { owner } from './owner.ts'
import { rationed } from './rationed.ts'
import { CHAT_TEMPLATE, TINY, writeTinyModel } from './tiny-model.ts'

const own = owner()
const folder = temporaryFolder()
const base = join(folder, 'base.gguf')
const REHEARSAL = 'rehearsing the longest batch'

beforeAll(() => {
  const backend = openBackend({ threads: 1 })
  const template = { kind: 'text', value: CHAT_TEMPLATE } as const
  writeTinyModel(backend, base, { ...TINY, layers: 1 }, 1, { 'tokenizer.chat_template': template })
  backend.dispose()
  const sample = (n: number): string =>
    JSON.stringify({
      messages: [
        { role: 'user', content: `${n}+2?` },
        { role: 'assistant', reasoning_content: `${n} and two`, content: `${n + 2}` }
      ]
    })
  writeFileSync(join(folder, 'train.jsonl'), Array.from({ length: 12 }, (_, n) => sample(n)).join('\n'))
})

const common = { base, device: 'cpu', threads: 1, system_message: '', max_completion_length: 8, lora: { r: 4 } }

type Ran = { events: RunEvent[]; adapter: Buffer; phases: string[]; plan: readonly string[]; runDir: string }

async function ran(name: string, kind: 'sft' | 'grpo', more: object): Promise<Ran> {
  const runDir = join(folder, name)
  mkdirSync(runDir)
  const events: RunEvent[] = []
  const means = { emit: (event: RunEvent) => void events.push(event), signal: new AbortController().signal, runDir }
  const given = { kind, output_dir: runDir, ...common, ...more }
  if (kind === 'sft') await runSft({ recipe: SftRecipe.parse(given), resume: true }, means)
  else await runGrpo({ recipe: GrpoRecipe.parse(given), resume: true }, means)
  return {
    events,
    runDir,
    adapter: readFileSync(join(runDir, 'adapter.gguf')),
    phases: events.flatMap((event) => (event.kind === 'phase' ? [event.name] : [])),
    plan: events.flatMap((event) => (event.kind === 'plan' ? event.lines : []))
  }
}

const said = ({ events }: Ran): string => events.flatMap((it) => (it.kind === 'log' ? [it.text] : [])).join('\n')

const GRPO = {
  tasks: [{ family: 'arithmetic', difficulty: 1, count: 8 }],
  held_out: [{ family: 'arithmetic', difficulty: 1, count: 2, seed: 7 }],
  max_steps: 2,
  prompts_per_step: 2,
  num_generations: 2,
  max_prompt_length: 200,
  rollout_width: 64,
  dynamic_sampling: false,
  stop_clipped: 1,
  eval_steps: 1,
  optimizer: { learning_rate: 1e-2 }
}

test('a GRPO run is the same rehearsed or not, and with sampler and trainer in turn', async () => {
  const rehearsed = await ran('rehearsed', 'grpo', GRPO)
  expect(rehearsed.phases).toEqual(['loading', REHEARSAL, 'training'])
  const plain = await ran('plain', 'grpo', { ...GRPO, rehearsal: false })
  expect(plain.phases).toEqual(['loading', 'training'])
  expect(plain.adapter.equals(rehearsed.adapter)).toBe(true)

  const peak = Number(/[\d.]+/.exec(rehearsed.plan.find((line) => line.startsWith('peak'))!)![0])
  const inTurn = await ran('in turn', 'grpo', { ...GRPO, memory_limit_mib: Math.floor(peak) - 2 })
  expect(inTurn.plan.join('\n')).toMatch(/in turn: both at once would not fit/)
  expect(rehearsed.plan.join('\n')).not.toMatch(/in turn/)
  expect(inTurn.adapter.equals(rehearsed.adapter)).toBe(true)
  const { checkpoint } = latestCheckpoint(inTurn.runDir)
  expect(JSON.parse(checkpoint!.read('plan.json').toString())).toMatchObject({
    memory: 'in turn',
    cacheType: 'f16',
    width: 64
  })
})

test('an SFT run is the same rehearsed or not; rows are as long as the longest that can come', async () => {
  const sft = { train: join(folder, 'train.jsonl'), max_length: 60, max_steps: 2, train_batch_size: 3, eval_samples: 2 }
  const [rehearsed, plain] = [await ran('sft', 'sft', sft), await ran('sft plain', 'sft', { ...sft, rehearsal: false })]
  expect(rehearsed.phases).toEqual(['loading', 'checking samples', REHEARSAL, 'training'])
  expect(plain.phases).toEqual(['loading', 'checking samples', 'training'])
  expect(rehearsed.adapter.equals(plain.adapter)).toBe(true)
  expect(said(rehearsed)).toMatch(/the longest batch, 60 tokens, fits/)
})

test('a run of rows longer than its chunks, with plenty of memory and with little, learns the same', async () => {
  const wide = join(folder, 'wide.gguf')
  const shape = { ...TINY, layers: 1, width: 64, heads: 1, keyHeads: 1, headDim: 64, feedForward: 1024 }
  const template = { kind: 'text', value: CHAT_TEMPLATE } as const
  writeTinyModel(own.backend(), wide, { ...shape, contextLength: 4096 }, 1, { 'tokenizer.chat_template': template })
  const train = join(folder, 'long.jsonl')
  const long = (n: number): string => `${n} and so on, `.repeat(200)
  const sample = (n: number): string =>
    JSON.stringify({
      messages: [
        { role: 'user', content: long(n) },
        { role: 'assistant', reasoning_content: `${n} and two`, content: `${n + 2}` }
      ]
    })
  writeFileSync(train, Array.from({ length: 6 }, (_, n) => sample(n)).join('\n'))
  const sft = { base: wide, train, max_length: 4000, max_steps: 3, train_batch_size: 1, eval_samples: 0 }
  const more = { ...sft, optimizer: { learning_rate: 1e-2 } }
  const plenty = await ran('plenty', 'sft', more)
  const planned = (item: string): number =>
    Number(/[\d.]+/.exec(plenty.plan.find((line) => line.startsWith(item))!)![0])
  const half = Math.floor((planned('peak') + planned('process')) / 2) // half of what a run can choose
  const little = await ran('little', 'sft', { ...more, memory_limit_mib: half })
  const rows = /the longest batch, (\d+) tokens/.exec(said(plenty))!
  expect(Number(rows[1])).toBeGreaterThan(2000)
  expect(plenty.plan.join('\n')).toMatch(/keep all, layers in chunks of 512 tokens, attention in chunks of 256/)
  expect(little.plan.join('\n')).toMatch(/keep none, layers in chunks of 512 tokens, attention in chunks of 64/)
  const losses = ({ events }: Ran): number[] =>
    events.flatMap((event) => (event.kind === 'step' ? [event.metrics['loss']!] : []))
  const [expected, met] = [losses(plenty), losses(little)]
  expect(met).toHaveLength(3)
  expect(met[2]).toBeLessThan(met[0]!)
  met.forEach((loss, step) => expect(loss).toBeCloseTo(expected[step]!, 5))
})

test('a rehearsal that finds no room says what to change, and leaves no gradient', async () => {
  const { backend, allow } = rationed(own.backend())
  const model = own(await loadModel(base, backend))
  const adapter = own(await createAdapter(model, LoraSettings.parse({ r: 4 }), 1))
  const parameters = own(new Parameters(model, { kind: 'adapter', adapter }))
  const trainer = own(new Trainer(parameters, { keep: 'all', chunkQueries: 64, headRows: 16 }))
  const tokens = Int32Array.from({ length: 96 }, (_, i) => 3 + (i % 50))
  const refusals: unknown[] = []
  for (let n = 0; n < 3; n++) {
    allow(n)
    try {
      rehearse(trainer, tokens, () => undefined)
    } catch (error) {
      refusals.push(error)
    }
  }
  expect(refusals).toHaveLength(3)
  for (const refusal of refusals)
    expect(refusal).toMatchObject({
      code: 'memory',
      message: expect.stringMatching(/^the longest batch, 96 tokens, does not fit/) as string,
      hint: expect.stringMatching(/memory_limit_mib/) as string
    })
  allow(Infinity)
  rehearse(trainer, tokens, () => undefined)
  for (const { gradient } of parameters.list)
    expect(readF32(backend, gradient).every((value) => value === 0)).toBe(true)
})
