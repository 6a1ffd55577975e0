/** How long a run will take: from what earlier runs told, else from doctor, and in words that say which. */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { AppError } from '../../src/shared/errors.ts'
import { EvaluateRecipe, GrpoRecipe, SftRecipe } from '../../src/shared/recipe.ts'
import type { Recipe } from '../../src/shared/recipe.ts'
import type { RunEvent } from '../../src/shared/event.ts'
import { openStore } from '../../src/main/data/store/index.ts'
import type { Store } from '../../src/main/data/store/index.ts'
import { deviceOf, gflopsOn } from '../../src/main/ipc/doctor-facts.ts'
import type { Host } from '../../src/main/ipc/host.ts'
import { timePredictor } from '../../src/main/ipc/predicted-time.ts'
import { readHeader } from '../../src/main/data/models/header.ts'
import { bundledBase } from '../../src/main/ipc/recipe-presets.ts'
import { atEnd, newRun, workspace } from './workspace.ts'

/** 100 tokens in nine of ten rows, 900 in the tenth. */
const LENGTHS = Array.from({ length: 200 }, (_, i) => (i % 10 === 0 ? 900 : 100))

function rig() {
  const folder = workspace()
  const store = openStore(folder)
  atEnd(store.opened.close)
  const train = join(folder, 'train.jsonl')
  writeFileSync(train, '{}\n')
  const asked: unknown[] = []
  const answers: (() => unknown)[] = []
  const ask = (kind: string, input: unknown): Promise<unknown> => {
    asked.push([kind, input])
    return Promise.resolve().then(answers.shift() ?? (() => ({ total: 1000, lengths: LENGTHS, failed: 0 })))
  }
  const predict = timePredictor({ store, ask } as unknown as Host)
  const base = bundledBase()!
  const sft = (more: object = {}): Recipe =>
    SftRecipe.parse({ kind: 'sft', base, train, output_dir: folder, device: 'cpu', max_length: 512, ...more })
  const grpo = (more: object = {}): Recipe =>
    GrpoRecipe.parse({
      kind: 'grpo',
      base,
      output_dir: folder,
      device: 'cpu',
      tasks: [{ family: 'arithmetic', difficulty: 1, count: 9 }],
      ...more
    })
  const evaluate = (more: object = {}): Recipe =>
    EvaluateRecipe.parse({
      kind: 'evaluate',
      base,
      output_dir: folder,
      device: 'cpu',
      policies: [{ name: 'base' }, { name: 'sft' }],
      tasksets: [{ name: 'sums', tasks: [{ family: 'arithmetic', count: 20 }] }],
      ...more
    })
  return { folder, store, predict, asked, answers, sft, grpo, evaluate, base }
}
/** An ended run whose steps told these metrics, more and more of them slower. */
function ran(
  store: Store,
  recipe: Recipe,
  name: string,
  metrics: Record<string, number>,
  kind: 'step' | 'evaluation' = 'step'
): void {
  const run = newRun({ kind: recipe.kind, name, base: recipe.base, input: JSON.stringify({ input: { recipe } }) })
  const { number } = store.runs.add(run)
  store.runs.change(run.id, { state: 'ended', how: 'done' })
  const events = [1, 2, 3].map((step) => ({ at: step, event: { kind, step, of: 3, metrics } as RunEvent }))
  store.events.append(number, { events, lines: [] })
}

test('SFT: the tokens of the rows that fit, at the rate of the newest run of the same base and device', async () => {
  const { store, predict, sft, asked } = rig()
  ran(store, sft(), 'slow', { 'tokens_per_second/train': 10 })
  ran(store, sft(), 'last', { 'tokens_per_second/train': 500 })
  ran(store, sft({ device: 'cuda' }), 'on a GPU', { 'tokens_per_second/train': 9000 })
  ran(store, { ...sft(), base: '/other.gguf' }, 'another base', { 'tokens_per_second/train': 7 })
  ran(store, sft(), 'told nothing', {})
  // 900 of 1000 rows fit; 95 % of them train, twice, 32 a step: 54 steps of 32 × 100 tokens at 500 a second
  const time = await predict(sft())
  expect(time).toMatchObject({ seconds: (54 * 3200) / 500, source: 'measured' })
  expect(time.why).toBe('54 steps of about 3,200 tokens, at the 500 tokens a second of "last"; evaluations come on top')
  expect(asked).toHaveLength(1)
  expect(await predict(sft({ max_steps: 3 }))).toMatchObject({ seconds: (3 * 3200) / 500 })
  expect(asked).toHaveLength(1) // the file is as it was
})

test('GRPO: the time of a step by its rollouts and the length that answers had', async () => {
  const { store, predict, grpo } = rig()
  ran(store, grpo(), 'last', { step_time: 20, 'completions/mean_length': 200 })
  expect(await predict(grpo({ max_steps: 10 }))).toMatchObject({ seconds: 200, source: 'measured' })
  expect(await predict(grpo({ max_steps: 10, num_generations: 16 }))).toMatchObject({ seconds: 400 })
  const { seconds, why } = await predict(grpo({ max_steps: 10, max_completion_length: 100 }))
  expect(seconds).toBe(100)
  expect(why).toBe(
    '10 steps of 64 rollouts of about 100 tokens; "last" took 20.0 s for 64 of 200; evaluations come on top'
  )
})

test('an evaluation: its answers at the pace and length of the newest evaluation of the same base and device', async () => {
  const { store, predict, evaluate, folder } = rig()
  const pair = (policy: string, rate: number, length: number) => ({
    [`${policy}/sums/tokens_per_second/rollout`]: rate,
    [`${policy}/sums/completions/mean_length`]: length,
    [`${policy}/sums/completions/mean_length/correct`]: 7
  })
  expect(await predict(evaluate())).toMatchObject({ seconds: null, source: 'unknown' })
  ran(
    store,
    evaluate(),
    'last',
    { ...pair('base', 100, 300), ...pair('sft', 200, 50), ...pair('grpo', 200, 50) },
    'evaluation'
  )
  ran(store, evaluate({ device: 'cuda' }), 'on a GPU', pair('base', 9000, 300), 'evaluation')
  ran(store, evaluate(), 'of an older version', { 'base/sums/completions/mean_length': 9 }, 'evaluation')
  // two policies, five runs, 20 tasks; 3 of a file's 4
  const tasks = join(folder, 'tasks.jsonl')
  writeFileSync(tasks, Array.from({ length: 4 }, (_, i) => `{"prompt":"${i}+1","solution":"${i + 1}"}\n`).join(''))
  expect(await predict(evaluate())).toEqual({
    seconds: (2 * 5 * 20 * 50) / 200,
    source: 'measured',
    why: '200 answers of about 50 tokens, at the 200 tokens a second of "last"'
  })
  const filed = { tasksets: [{ name: 'file', tasks: [{ file: tasks, skip: 1 }] }], max_completion_length: 10 }
  expect(await predict(evaluate(filed))).toMatchObject({ seconds: (2 * 5 * 3 * 10) / 200 })
  const gone = { tasksets: [{ name: 'file', tasks: [{ file: join(folder, 'gone.jsonl') }] }] }
  expect(await predict(evaluate(gone))).toMatchObject({ seconds: null, why: expect.stringContaining('gone.jsonl') })
})

test('without an earlier run doctor’s rate gives a guess that is called one; without doctor nothing is said', async () => {
  const { store, predict, sft, grpo, evaluate, base } = rig()
  expect(await predict(sft())).toMatchObject({
    seconds: null,
    source: 'unknown',
    why: expect.stringContaining('doctor')
  })
  store.settings.set('doctor', { device: 'CPU', gemm: { F32: 20, F16: 40 }, tried: [] })
  const { parameters } = (await readHeader(base)).facts
  const guess = await predict(sft())
  expect(guess).toMatchObject({ source: 'guess', why: expect.stringContaining('172,800 tokens at the 40 GFLOP/s') })
  expect(guess.seconds).toBeCloseTo((4 * parameters! * 172_800) / 40e9, 9)
  const most = 10 * 64 * (512 + 512)
  expect((await predict(grpo({ max_steps: 10 }))).seconds).toBeCloseTo((6 * parameters! * most) / 40e9, 9)
  const measured = await predict(evaluate())
  expect(measured).toMatchObject({ source: 'guess', why: expect.stringContaining('at most 204,800 tokens') })
  expect(measured.seconds).toBeCloseTo((2 * parameters! * 204_800) / 40e9, 9)
})

test('a file that cannot be counted leaves the time open, and is asked about again', async () => {
  const { predict, sft, answers } = rig()
  answers.push(() => {
    throw new AppError('data', 'row 2 is broken')
  })
  expect(await predict(sft())).toMatchObject({
    seconds: null,
    source: 'unknown',
    why: expect.stringContaining('row 2')
  })
  answers.push(() => ({ total: 3, lengths: [900], failed: 2 }))
  expect((await predict(sft())).why).toContain('no row')
})

test('doctor’s rate is that of the device a run would use', () => {
  const gemm = { F32: 20, Q8_0: 60 }
  const tried = [
    { gpu: 'vulkan', refusal: 'too slow', report: { rate: 5 } },
    { gpu: 'cuda', refusal: null, report: { rate: 9000 } }
  ]
  const doctor = { device: 'CUDA0', description: 'a CPU', gemm, tried, lines: ['the verdict'] }
  expect(['auto', 'cuda', 'cpu', 'vulkan', 'metal'].map((device) => gflopsOn(doctor, device))).toEqual([
    9000,
    9000,
    60,
    5,
    null
  ])
  expect(deviceOf(doctor)).toEqual({ name: 'a CPU', backend: 'CUDA0', gemmGflops: 9000, verdict: 'the verdict' })
  expect(gflopsOn({ device: 'CPU', gemm, tried: [tried[0]] }, 'auto')).toBe(60)
  expect([gflopsOn(null, 'auto'), deviceOf(null)]).toEqual([null, null])
})
