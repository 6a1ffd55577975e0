/** Evaluation, sampling and reports as jobs, on a random model with a chat template: what it says is noise, how is not. */
import {
  appendFileSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync
} from 'node:fs'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { beforeAll, describe, expect, test } from 'vitest'
import { stringify } from 'yaml'
import { createAdapter } from '../../src/main/engine/adapter.ts'
import { openBackend } from '../../src/main/engine/backend.ts'
import { deriveGguf } from '../../src/main/engine/derived-gguf.ts'
import { ownedCounts } from '../../src/main/engine/ffi/owned.ts'
import { loadModel } from '../../src/main/engine/model.ts'
import { elements, write } from '../../src/main/engine/tensor.ts'
import { readAnswers } from '../../src/main/evaluation/answers.ts'
import { ANSWERS_FILE, runEvaluation } from '../../src/main/evaluation/evaluate.ts'
import { runReport } from '../../src/main/evaluation/report.ts'
import { resultsOf } from '../../src/main/evaluation/run-files.ts'
import { runSample } from '../../src/main/evaluation/sample.ts'
import { runPlan } from '../../src/main/training/plan-job.ts'
import type { PlanResult } from '../../src/main/training/plan-job.ts'
import type { RunEvent } from '../../src/shared/event.ts'
import { seeded } from '../../src/shared/random.ts'
import { EvaluateRecipe, LoraSettings } from '../../src/shared/recipe.ts'
import { JOB_INPUTS } from '../../src/shared/worker-contract.ts'
import { temporaryFolder } from './folder.ts'
import { owner } from './owner.ts'
import { CHAT_TEMPLATE, TINY, writeTinyModel } from './tiny-model.ts'

owner() // counts what the jobs leave behind
const folder = temporaryFolder()
const [base, plain] = [join(folder, 'base.gguf'), join(folder, 'plain.gguf')]
const [twin, other, foreign] = ['twin', 'other', 'foreign'].map((name) => join(folder, `${name}.gguf`)) as [
  string,
  string,
  string
]
const [zero, tuned] = [join(folder, 'zero.gguf'), join(folder, 'tuned.gguf')]

beforeAll(async () => {
  const backend = openBackend({ threads: 1 })
  const template = { kind: 'text', value: CHAT_TEMPLATE } as const
  writeTinyModel(backend, base, TINY, 1, { 'tokenizer.chat_template': template })
  writeTinyModel(backend, plain)
  copyFileSync(base, twin)
  writeTinyModel(backend, other, TINY, 2, { 'tokenizer.chat_template': template })
  writeTinyModel(backend, foreign, { ...TINY, vocabulary: 170 }, 1, { 'tokenizer.chat_template': template })
  const model = await loadModel(base, backend)
  const adapter = await createAdapter(model, LoraSettings.parse({ r: 4 }), 1)
  adapter.save(zero)
  for (const { b, target } of adapter.pairs) {
    const random = seeded(target)
    const values = Float32Array.from({ length: elements(b) }, () => random.normal() / 4)
    write(backend, b, values)
  }
  adapter.save(tuned)
  adapter.dispose()
  model.dispose()
  backend.dispose()
})

const recipeFor = (name: string, more: object = {}): EvaluateRecipe =>
  EvaluateRecipe.parse({
    kind: 'evaluate',
    base,
    output_dir: join(folder, name),
    policies: [{ name: 'base' }, { name: 'zero', adapter: zero }, { name: 'tuned', adapter: tuned }],
    tasksets: [
      { name: 'sums', tasks: [{ family: 'arithmetic', difficulty: 1, count: 7 }] },
      { name: 'units', tasks: [{ family: 'chain', difficulty: 1, count: 3 }] }
    ],
    runs: 3,
    device: 'cpu',
    threads: 1,
    system_message: '',
    max_prompt_length: 200,
    max_completion_length: 12,
    rollout_width: 2, // blocks of 16 answers: two for the 21 of a policy's sums
    sampling: { temperature: 1.5 },
    lenient: true,
    ...more
  })

type Ran = {
  readonly result: { readonly lines: string[] }
  readonly events: readonly RunEvent[]
  readonly folder: string
}

/** Stops after `blocks` kept blocks where given, in the middle of the next. */
async function evaluate(
  recipe: EvaluateRecipe,
  how: { resume?: boolean; blocks?: number; onEvent?: () => void } = {}
): Promise<Ran> {
  const events: RunEvent[] = []
  const stop = new AbortController()
  const runDir = recipe.output_dir
  mkdirSync(runDir, { recursive: true })
  writeFileSync(join(runDir, 'recipe.yaml'), stringify(recipe))
  const sizes = new Set<number>()
  const emit = (event: RunEvent): void => {
    events.push(event)
    how.onEvent?.()
    sizes.add(readAnswers(join(runDir, ANSWERS_FILE)).length)
    if (how.blocks !== undefined && event.kind === 'progress' && sizes.size > how.blocks) stop.abort()
  }
  const job = runEvaluation({ recipe, resume: how.resume ?? false }, { emit, signal: stop.signal, runDir })
  return { result: (await job) as Ran['result'], events, folder: runDir }
}

const answersIn = (path: string): string => readFileSync(join(path, ANSWERS_FILE), 'utf8')

test('an evaluation that does not fit is refused before it answers', async () => {
  await expect(evaluate(recipeFor('no-room', { memory_limit_mib: 1 }))).rejects.toMatchObject({ code: 'memory' })
  expect(existsSync(join(folder, 'no-room', ANSWERS_FILE))).toBe(false)
})

describe('an evaluation', () => {
  let whole: Ran
  beforeAll(async () => void (whole = await evaluate(recipeFor('whole'))))

  test('has one line per policy, task and run, in order', () => {
    const answers = readAnswers(join(whole.folder, ANSWERS_FILE))
    expect(answers).toHaveLength(3 * (7 + 3) * 3)
    expect(
      answers.map(({ policy, taskset, run }) => `${policy} ${taskset} ${run}`).filter((it, i, all) => it !== all[i - 1])
    ).toEqual(
      ['base', 'zero', 'tuned'].flatMap((policy) =>
        ['sums', 'units'].flatMap((taskset) => [0, 1, 2].map((run) => `${policy} ${taskset} ${run}`))
      )
    )
    expect(new Set(answers.map(({ verdict }) => verdict)).size).toBeGreaterThan(1)
    for (const { length, stop } of answers) expect(length === 12 || stop === 'eos').toBe(true)
  })

  test('asks every policy with the same luck: an adapter of zeros changes nothing, another does', () => {
    const of = (policy: string): string[] =>
      readAnswers(join(whole.folder, ANSWERS_FILE)).filter((one) => one.policy === policy).map(({ text }) => text) // prettier-ignore
    expect(of('zero')).toEqual(of('base'))
    expect(of('tuned')).not.toEqual(of('base'))
    expect(new Set(of('base').slice(0, 21)).size).toBeGreaterThan(7) // runs differ
  })

  test('gives the same answers again', async () => {
    const again = await evaluate(recipeFor('again'))
    expect(answersIn(again.folder)).toBe(answersIn(whole.folder))
  })

  test.each([
    [0, 0],
    [1, 16],
    [4, 16 + 5 + 9 + 16]
  ])('stopped after %i blocks and resumed equals one that was not', async (blocks, answers) => {
    const recipe = recipeFor(`stopped-${blocks}`)
    await expect(evaluate(recipe, { blocks })).rejects.toMatchObject({ code: 'cancelled' })
    const path = join(recipe.output_dir, ANSWERS_FILE)
    const kept = readAnswers(path).length
    expect(kept).toBe(answers)
    if (blocks > 0) appendFileSync(path, '{"policy":"zero","taskset":"sums"}\n{"policy":"ze') // what a crash may leave
    const resumed = await evaluate(recipe, { resume: true })
    expect(answersIn(resumed.folder)).toBe(answersIn(whole.folder))
    expect(resultsOf(resumed.folder)).toEqual(resultsOf(whole.folder))
    expect(resumed.result.lines.slice(0, -2)).toEqual(whole.result.lines.slice(0, -2))
    const done = resumed.events.flatMap((event) =>
      event.kind === 'progress' && event.label === 'all answers' ? [event.done] : []
    )
    expect(Math.min(...done)).toBeGreaterThanOrEqual(kept)
  })

  test('with a damaged block samples it and all that follow again', async () => {
    const recipe = recipeFor('damaged')
    await evaluate(recipe)
    const path = join(recipe.output_dir, ANSWERS_FILE)
    truncateSync(path, readFileSync(path).length - 40)
    const resumed = await evaluate(recipe, { resume: true })
    expect(answersIn(resumed.folder)).toBe(answersIn(whole.folder))
  })

  test('is not continued with other settings', async () => {
    const recipe = recipeFor('other')
    await evaluate(recipe)
    await expect(evaluate({ ...recipe, seed: 1 }, { resume: true })).rejects.toMatchObject({ code: 'recipe' })
  })

  test('tells metrics by policy and taskset, and progress of each pair to its end', () => {
    const evaluations = whole.events.filter((event) => event.kind === 'evaluation')
    expect(evaluations.map(({ step }) => step)).toEqual([1, 2, 3, 4, 5, 6])
    expect(Object.keys(evaluations[3]!.metrics)).toContain('zero/units/accuracy')
    expect(evaluations[0]!.metrics['base/sums/completions/mean_length']).toBeGreaterThan(0)
    expect(evaluations[0]!.metrics['base/sums/tokens_per_second/rollout']).toBeGreaterThan(0)
    const last = new Map(whole.events.flatMap((event) => (event.kind === 'progress' ? [[event.label, event]] : [])))
    expect([...last.keys()]).toEqual(['base on sums', 'all answers', 'base on units', 'zero on sums', 'zero on units', 'tuned on sums', 'tuned on units']) // prettier-ignore
    for (const event of last.values()) expect(event.done).toBe(event.of)
  })

  test('writes results, a report in two forms, and nothing half-written', async () => {
    expect(readdirSync(whole.folder).sort()).toEqual(['answers.jsonl', 'recipe.yaml', 'report.html', 'report.md', 'results.json', 'run.json']) // prettier-ignore
    const { results, traces } = resultsOf(whole.folder)!
    expect(results.map(({ stage, taskset }) => `${stage} ${taskset}`)).toEqual(['base sums', 'base units', 'zero sums', 'zero units', 'tuned sums', 'tuned units']) // prettier-ignore
    expect(results[0]!.items).toHaveLength(7)
    expect(results[0]!.items[0]!.runs).toHaveLength(3)
    expect(traces).toHaveLength(3)
    expect(traces[0]!.stages.map(({ stage }) => stage)).toEqual(['base', 'zero', 'tuned'])
    const markdown = readFileSync(join(whole.folder, 'report.md'), 'utf8')
    for (const part of [
      'base → zero → tuned on sums, units',
      'llama.cpp: 0.5.0',
      'max_prompt_length: 200',
      'threads: 1'
    ])
      // prettier-ignore
      expect(markdown).toContain(part)
    expect(whole.result.lines.join('\n')).toMatch(/zero is not distinguishable from base: 0\.0 points/)
    const stop = new AbortController()
    await runReport({}, { emit: () => undefined, signal: stop.signal, runDir: whole.folder })
    expect(readFileSync(join(whole.folder, 'report.md'), 'utf8')).toBe(markdown)
  })

  test('refuses an adapter of another base, and leaves a folder that a new run may take', async () => {
    const recipe = recipeFor('foreign', { policies: [{ name: 'x', adapter: base }] })
    await expect(evaluate(recipe)).rejects.toMatchObject({ code: 'model' })
    expect(readdirSync(recipe.output_dir)).toEqual(['recipe.yaml'])
  })

  test('is the only one to write its folder', async () => {
    const recipe = recipeFor('held', { runs: 1 })
    const mark = join(recipe.output_dir, 'written-by.json')
    mkdirSync(recipe.output_dir)
    const holder = { pid: process.ppid, host: hostname(), since: Date.now() } // any other process that runs
    writeFileSync(mark, JSON.stringify(holder))
    await expect(evaluate(recipe, { resume: true })).rejects.toMatchObject({ code: 'disk' })
    expect(readdirSync(recipe.output_dir).sort()).toEqual(['recipe.yaml', 'written-by.json'])
    rmSync(mark)
    const marked = new Set<boolean>()
    await evaluate(recipe, { onEvent: () => void marked.add(existsSync(mark)) })
    expect([...marked]).toEqual([true])
    expect(existsSync(mark)).toBe(false)
  })

  test('leaves out prompts that are too long, and says so', async () => {
    await expect(evaluate(recipeFor('long', { max_prompt_length: 5 }))).rejects.toMatchObject({ code: 'data' })
    expect(existsSync(join(folder, 'long', ANSWERS_FILE))).toBe(false)
  })
})

describe('policies with a base of their own', () => {
  const policies = [
    { name: 'base' },
    { name: 'twin', base: twin },
    { name: 'other', base: other },
    { name: 'tuned', adapter: tuned }
  ]
  let whole: Ran
  beforeAll(async () => void (whole = await evaluate(recipeFor('own', { policies }))))
  const textsOf = (path: string, policy: string): string[] =>
    readAnswers(join(path, ANSWERS_FILE)).flatMap((one) => (one.policy === policy ? [one.text] : []))

  test('answer as they would alone, on the same luck, and are compared pair by pair', async () => {
    expect(textsOf(whole.folder, 'twin')).toEqual(textsOf(whole.folder, 'base'))
    expect(textsOf(whole.folder, 'other')).not.toEqual(textsOf(whole.folder, 'base'))
    const alone = await evaluate(recipeFor('alone', { base: other, policies: [{ name: 'it' }] }))
    expect(textsOf(whole.folder, 'other')).toEqual(textsOf(alone.folder, 'it'))
    const before = await evaluate(recipeFor('before', { policies: [{ name: 'tuned', adapter: tuned }] }))
    expect(textsOf(whole.folder, 'tuned')).toEqual(textsOf(before.folder, 'tuned'))
    expect(whole.result.lines.join('\n')).toMatch(/twin is not distinguishable from base: 0\.0 points/)
    expect(readFileSync(join(whole.folder, 'report.md'), 'utf8')).toContain(`model of other: ${other}`)
  })

  test('go on after a stop, with another model than the one it ended with', async () => {
    const recipe = recipeFor('own stopped', { policies })
    await expect(evaluate(recipe, { blocks: 4 })).rejects.toMatchObject({ code: 'cancelled' })
    const resumed = await evaluate(recipe, { resume: true })
    expect(answersIn(resumed.folder)).toBe(answersIn(whole.folder))
    writeFileSync(twin, readFileSync(other))
    await expect(evaluate(recipe, { resume: true })).rejects.toMatchObject({ code: 'recipe' })
    copyFileSync(base, twin)
  })

  test('are loaded one after another', async () => {
    const most: number[] = []
    const recipe = recipeFor('counted', { policies })
    mkdirSync(recipe.output_dir)
    writeFileSync(join(recipe.output_dir, 'recipe.yaml'), stringify(recipe))
    const emit = (): void => void most.push(ownedCounts()['model'] ?? 0)
    const context = { emit, signal: new AbortController().signal, runDir: recipe.output_dir }
    await runEvaluation({ recipe, resume: false }, context)
    expect(Math.max(...most)).toBe(1)
  })

  test('of another vocabulary are refused by name, before anything is written', async () => {
    const recipe = recipeFor('foreign vocabulary', {
      policies: [{ name: 'base' }, { name: 'stranger', base: foreign }]
    })
    await expect(evaluate(recipe)).rejects.toMatchObject({
      code: 'recipe',
      message: expect.stringMatching(
        /^policies: stranger: .*foreign\.gguf has another vocabulary.*170 tokens, not 160/
      ) as string
    })
    expect(readdirSync(recipe.output_dir)).toEqual(['recipe.yaml'])
  })

  test('with a shorter context than prompts and answers may take are refused by name', async () => {
    const short = join(folder, 'short.gguf')
    await deriveGguf({
      from: base,
      to: short,
      values: { 'llama.context_length': { kind: 'u32', value: 128 } },
      patches: []
    })
    const recipe = recipeFor('short context', { policies: [{ name: 'base' }, { name: 'curt', base: short }] })
    await expect(evaluate(recipe)).rejects.toThrow(
      /^policies: curt: .*short\.gguf has a context of 128 tokens, .* take 212/
    )
  })

  test('are planned for as the largest, and each is read from its header', async () => {
    const recipe = recipeFor('planned', { policies })
    const context = { emit: () => undefined, signal: new AbortController().signal, runDir: '' }
    const plan = (await runPlan({ recipe }, context)) as PlanResult
    expect(plan.notes.join('\n')).toContain('3 models, one after another: the largest is planned for')
    const one = (await runPlan({ recipe: { ...recipe, policies: [{ name: 'base' }] } }, context)) as PlanResult
    expect(plan.rows).toEqual(one.rows)
  })
})

describe('a sample', () => {
  const sample = async (
    more: object
  ): Promise<{ events: RunEvent[]; result: { lines: string[]; tokens: number; answer: string } }> => {
    const events: RunEvent[] = []
    const input = JOB_INPUTS.sample.parse({
      model: base,
      prompt: 'What is 2+2?',
      device: 'cpu',
      threads: 1,
      max_completion_length: 40,
      ...more
    })
    const context = {
      emit: (event: RunEvent) => void events.push(event),
      signal: new AbortController().signal,
      runDir: ''
    }
    return { events, result: (await runSample(input, context)) as never }
  }

  test('streams what it returns, and the same for the same seed', async () => {
    const { events, result } = await sample({ system_message: '' })
    const streamed = events.flatMap((event) => (event.kind === 'text' ? [event.text] : [])).join('')
    expect(streamed).toBe(result.answer)
    expect(result.lines[1]).toMatch(
      /tokens after a prompt of \d+, [\d.]+ tokens\/s, (ended by itself|cut off at 40 tokens)/
    )
    expect((await sample({ system_message: '' })).result.answer).toBe(result.answer)
    expect((await sample({ system_message: '', seed: 1 })).result.answer).not.toBe(result.answer)
  })

  test('a base without a chat template continues the text, and says so', async () => {
    const { events, result } = await sample({ model: plain })
    expect(events).toContainEqual({
      kind: 'log',
      level: 'info',
      text: expect.stringContaining('no chat template') as string
    })
    expect(result.tokens).toBeGreaterThan(0)
  })

  test('stays inside the context of the base, and refuses a prompt that does not', async () => {
    const { events } = await sample({ model: plain, max_completion_length: 1000 })
    expect(events).toContainEqual({ kind: 'log', level: 'info', text: expect.stringContaining('leaves 2') as string })
    await expect(sample({ model: plain, prompt: '7 '.repeat(400) })).rejects.toMatchObject({ code: 'usage' })
  })
})
