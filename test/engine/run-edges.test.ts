/** Runs at their edges, on a small random model: nothing left to train on, no room, a cancel while something is measured. */
import { mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, describe, expect, test, vi } from 'vitest'
import { stringify } from 'yaml'
import { createAdapter } from '../../src/main/engine/adapter.ts'
import { openBackend } from '../../src/main/engine/backend.ts'
import type { DecoderSettings } from '../../src/main/engine/decoder.ts'
import { loadModel } from '../../src/main/engine/model.ts'
import type * as Models from '../../src/main/engine/model.ts'
import type { Model } from '../../src/main/engine/model.ts'
import { writePeft } from '../../src/main/engine/peft.ts'
import type * as Samplers from '../../src/main/engine/sampler.ts'
import { runEvaluation } from '../../src/main/evaluation/evaluate.ts'
import { latestCheckpoint } from '../../src/main/training/checkpoint.ts'
import { runGrpo } from '../../src/main/training/grpo.ts'
import { runPlan } from '../../src/main/training/plan-job.ts'
import type { PlanResult } from '../../src/main/training/plan-job.ts'
import { runSft } from '../../src/main/training/sft.ts'
import type { RunEvent } from '../../src/shared/event.ts'
import { EvaluateRecipe, GrpoRecipe, LoraSettings, SftRecipe } from '../../src/shared/recipe.ts'
import { temporaryFolder } from './folder.ts'
import { owner } from './owner.ts'
import { CHAT_TEMPLATE, TINY, writeTinyModel } from './tiny-model.ts'

/** How samplers were opened, and the bases that were loaded. */
const { opened, loaded } = vi.hoisted((): { opened: DecoderSettings[]; loaded: string[] } => ({
  opened: [],
  loaded: []
}))
vi.mock('../../src/main/engine/model.ts', async (importOriginal) => {
  const original = await importOriginal<typeof Models>()
  const loadModel: typeof Models.loadModel = (path, ...rest) => {
    loaded.push(path)
    return original.loadModel(path, ...rest)
  }
  return { ...original, loadModel }
})
vi.mock('../../src/main/engine/sampler.ts', async (importOriginal) => {
  const original = await importOriginal<typeof Samplers>()
  class Sampler extends original.Sampler {
    constructor(model: Model, settings: DecoderSettings) {
      opened.push(settings)
      super(model, settings)
    }
  }
  return { ...original, Sampler }
})

owner() // counts what the jobs leave behind
const folder = temporaryFolder()
const base = join(folder, 'base.gguf')
const peft = join(folder, 'peft')
const wide = join(folder, 'wide-heads.gguf') // heads of 64, those of the base have 16
const arithmetic = { family: 'arithmetic', difficulty: 1 }

beforeAll(async () => {
  const backend = openBackend({ threads: 1 })
  const template = { kind: 'text', value: CHAT_TEMPLATE } as const
  const shape = { ...TINY, width: 64, feedForward: 64, layers: 1 }
  writeTinyModel(backend, base, shape, 1, { 'tokenizer.chat_template': template })
  writeTinyModel(backend, wide, { ...TINY, layers: 1 }, 1, { 'tokenizer.chat_template': template })
  const model = await loadModel(base, backend)
  const adapter = await createAdapter(model, LoraSettings.parse({ r: 4 }), 1)
  mkdirSync(peft)
  writePeft(adapter, peft, 'base')
  adapter.dispose()
  model.dispose()
  backend.dispose()
})

const recipeFor = (name: string, more: object): GrpoRecipe =>
  GrpoRecipe.parse({
    kind: 'grpo',
    base,
    output_dir: join(folder, name),
    tasks: [{ ...arithmetic, count: 8 }],
    held_out: [{ ...arithmetic, count: 2, seed: 7 }],
    device: 'cpu',
    threads: 1,
    system_message: '',
    max_steps: 3,
    prompts_per_step: 2,
    num_generations: 2,
    max_prompt_length: 200,
    max_completion_length: 8,
    dynamic_sampling: false,
    stop_clipped: 1,
    lora: { r: 4 },
    ...more
  })

async function ran(recipe: GrpoRecipe, onEvent: (event: RunEvent, abort: () => void) => void = () => undefined) {
  const events: RunEvent[] = []
  const controller = new AbortController()
  const emit = (event: RunEvent): void => {
    events.push(event)
    onEvent(event, () => controller.abort())
  }
  const failure = await runGrpo(
    { recipe, resume: true },
    { emit, signal: controller.signal, runDir: recipe.output_dir }
  )
    .then(() => null)
    .catch((error: unknown) => error)
  const steps = (kind: 'step' | 'evaluation'): number[] => events.flatMap((it) => (it.kind === kind ? [it.step] : []))
  return { events, failure, steps: steps('step'), evaluations: steps('evaluation') }
}

test('held-out tasks are measured at the end also where no interval is given, and steps logged at theirs', async () => {
  const { failure, steps, evaluations } = await ran(recipeFor('plain', { logging_steps: 2 }))
  expect(failure).toBeNull()
  expect(evaluations).toEqual([3])
  expect(steps).toEqual([2, 3])
})

test('tasks whose prompts are all too long are refused in words, and nothing native is left', async () => {
  const { failure } = await ran(recipeFor('long', { max_prompt_length: 3 }))
  expect(failure).toMatchObject({ code: 'data', message: expect.stringContaining('no task is left') as string })
})

test.each([
  ['a new adapter', {}],
  ['an adapter of PEFT’s', { adapter: peft }]
])('a plan that does not fit is refused before the base is loaded: %s', async (_, more) => {
  loaded.length = 0
  const { failure, events } = await ran(recipeFor('small', { memory_limit_mib: 1, ...more }))
  expect(failure).toMatchObject({ code: 'memory' })
  expect(events.filter(({ kind }) => kind === 'plan')).toHaveLength(1)
  expect(loaded).toEqual([])
})

test('a cancel while held-out tasks are measured loses no step, and the measurement is made when the run goes on', async () => {
  const recipe = recipeFor('stopped', { eval_steps: 2, max_completion_length: 30 })
  const first = await ran(recipe, (event, abort) => {
    if (event.kind === 'progress' && event.label === 'step 2 held out') abort()
    if (event.kind === 'step' && event.step === 2) abort()
  })
  expect(first.failure).toMatchObject({ code: 'cancelled' })
  expect(latestCheckpoint(recipe.output_dir).checkpoint?.manifest.step).toBe(2)
  const second = await ran(recipe)
  expect(second.failure).toBeNull()
  expect(second.evaluations).toEqual([2, 3])
})

test('an adapter in PEFT’s folder is evaluated as one in a GGUF is', async () => {
  const recipe = EvaluateRecipe.parse({
    kind: 'evaluate',
    base,
    output_dir: join(folder, 'evaluated'),
    policies: [{ name: 'peft', adapter: peft }],
    tasksets: [{ name: 'sums', tasks: [{ ...arithmetic, count: 2 }] }],
    runs: 1,
    device: 'cpu',
    threads: 1,
    system_message: '',
    max_prompt_length: 200,
    max_completion_length: 4
  })
  mkdirSync(recipe.output_dir)
  writeFileSync(join(recipe.output_dir, 'recipe.yaml'), stringify(recipe))
  const context = { emit: () => undefined, signal: new AbortController().signal, runDir: recipe.output_dir }
  await expect(runEvaluation({ recipe, resume: false }, context)).resolves.toBeDefined()
})

test('without dynamic sampling groups of equal rewards are part of the update', async () => {
  const recipe = recipeFor('flat', { max_steps: 1, entropy_coef: 1, held_out: [] })
  const { failure, events } = await ran(recipe)
  expect(failure).toBeNull()
  const step = events.find((event) => event.kind === 'step')
  expect(step?.metrics).toMatchObject({ frac_reward_zero_std: 1, trained_groups: 2, policy_loss: 0 })
  expect(step?.metrics['entropy']).toBeGreaterThan(0)
  expect(step?.metrics['grad_norm']).toBeGreaterThan(0) // of the entropy term
  const dropped = await ran(recipeFor('dropped', { max_steps: 1, entropy_coef: 1, held_out: [], dynamic_sampling: true, max_refills: 0 })) // prettier-ignore
  expect(dropped.events.find((event) => event.kind === 'step')?.metrics).toMatchObject({ trained_groups: 0 })
})

test('sampled at another temperature than 1, decoder and trainer speak of the same policy', async () => {
  const { events } = await ran(recipeFor('warm', { max_steps: 1, held_out: [], sampling: { temperature: 1.6 } }))
  const step = events.find((event) => event.kind === 'step')
  expect(step?.metrics['sampling/sampling_logp_difference/mean']).toBeLessThan(0.02)
  expect(events.filter((event) => event.kind === 'log' && event.level === 'warn')).toEqual([])
})

test('the plan is of the adapter that is trained, wherever its rank comes from', async () => {
  const backend = openBackend({ threads: 1 })
  const model = await loadModel(base, backend)
  const wide = await createAdapter(model, LoraSettings.parse({ r: 32, target_modules: ['q_proj', 'down_proj'] }), 1)
  wide.save(join(folder, 'wide.gguf'))
  for (const it of [wide, model, backend]) it.dispose()
  const planned = async (name: string, more: object): Promise<readonly string[]> => {
    const { events } = await ran(recipeFor(name, { max_steps: 1, held_out: [], ...more }))
    const plan = events.find((event) => event.kind === 'plan')!
    return plan.lines.filter((line) => /^(adapter|gradients|optimizer)/.test(line))
  }
  const given = await planned('given', { adapter: join(folder, 'wide.gguf'), lora: { r: 4 } })
  const made = await planned('made', { lora: { r: 32, target_modules: ['q_proj', 'down_proj'] } })
  expect(given).toEqual(made)
  expect(given).not.toEqual(await planned('narrow', { lora: { r: 4 } }))
  const { failure } = await ran(recipeFor('tight', { adapter: join(folder, 'wide.gguf'), memory_limit_mib: 1 }))
  expect((failure as { hint: string }).hint).not.toContain('lora.r')
})

test('a step tells where its time went', async () => {
  const { events } = await ran(recipeFor('phases', { max_steps: 1 }))
  const { metrics } = events.find((event) => event.kind === 'step')!
  const seconds = (...phases: string[]): number => phases.reduce((sum, it) => sum + metrics[`timing_s/${it}`]!, 0)
  for (const phase of ['prefill', 'decode', 'sample', 'score', 'train']) expect(seconds(phase)).toBeGreaterThan(0)
  expect(seconds('sync')).toBeGreaterThanOrEqual(0)
  expect(seconds('prefill', 'decode', 'sample', 'score')).toBeLessThanOrEqual(seconds('rollout'))
  expect(seconds('rollout', 'train', 'sync')).toBeCloseTo(metrics['step_time']!, 9)
})

test('a step tells what the process holds in memory; the CPU has none of its own', async () => {
  const { events } = await ran(recipeFor('memory', { max_steps: 1 }))
  const { metrics } = events.find((event) => event.kind === 'step')!
  const base = statSync(join(folder, 'base.gguf')).size / 2 ** 20
  expect(metrics['memory_mib/resident']).toBeGreaterThan(base)
  expect(metrics['memory_mib/resident']).toBeLessThan(process.resourceUsage().maxRSS / 1024 + 1)
  expect(metrics).not.toHaveProperty('memory_mib/device')
  const plan = events.find((event) => event.kind === 'plan')!
  const peak = plan.lines.map((line) => /^peak +([\d.]+) MiB/.exec(line)?.[1]).find((found) => found !== undefined)
  expect(metrics['memory_mib/planned']!.toFixed(1)).toBe(peak)
})

test('the cache is of the type that the recipe names, in the plan too; heads that it cannot hold are refused', async () => {
  const cache = async (cache_type: string): Promise<number> => {
    const { events, failure, steps } = await ran(
      recipeFor(cache_type, { base: wide, cache_type, rollout_width: 64, max_steps: 1 })
    )
    expect([failure, steps]).toEqual([null, [1]])
    const plan = events.find((event) => event.kind === 'plan')!
    return Number(/[\d.]+/.exec(plan.lines.find((line) => line.startsWith('KV cache'))!)![0])
  }
  expect((await cache('q8_0')) / (await cache('f16'))).toBeCloseTo(34 / 64, 1)
  const { failure, events } = await ran(recipeFor('narrow', { cache_type: 'q8_0' }))
  expect(failure).toMatchObject({
    code: 'recipe',
    message: 'cache_type is q8_0, which holds blocks of 32 values: the heads of this base have 16',
    hint: 'Set cache_type to f16.'
  })
  expect(events.filter(({ kind }) => kind === 'plan')).toEqual([]) // nothing was promised before
})

describe('a plan before the run', () => {
  const means = { emit: () => undefined, signal: new AbortController().signal, runDir: folder }
  const measuring = (more: object): EvaluateRecipe =>
    EvaluateRecipe.parse({
      kind: 'evaluate',
      base,
      output_dir: join(folder, 'measured'),
      policies: [{ name: 'base' }],
      tasksets: [{ name: 'arithmetic', tasks: [{ ...arithmetic, count: 4 }] }],
      device: 'cpu',
      threads: 1,
      ...more
    })

  test.each([
    ['grpo', recipeFor('unplanned', { cache_type: 'q8_0' })],
    ['evaluate', measuring({ cache_type: 'q8_0' })]
  ] as const)('%s: a cache that cannot hold the heads is refused by the setting’s name', async (_, recipe) => {
    await expect(runPlan({ recipe }, means)).rejects.toThrow(/^cache_type is q8_0/)
  })

  test('of an evaluation counts what the process takes, as every other does', async () => {
    const rows = async (recipe: GrpoRecipe | EvaluateRecipe): Promise<Map<string, number>> =>
      new Map(((await runPlan({ recipe }, means)) as PlanResult).rows.map(({ name, mib }) => [name, mib]))
    const [training, answering] = [await rows(recipeFor('counted', {})), await rows(measuring({}))]
    expect(answering.get('process')).toBeGreaterThanOrEqual(20) // MiB
    expect(answering.get('process')).toBe(training.get('process'))
  })
})

test('a checkpoint knows its threads, and its width where nobody named one', async () => {
  const recipe = recipeFor('threads', { max_steps: 1 })
  await ran(recipe)
  const { checkpoint } = latestCheckpoint(recipe.output_dir)
  expect(JSON.parse(checkpoint!.read('plan.json').toString())).toMatchObject({ threads: 1, width: 4 })
})

describe('teaching', () => {
  const trace = (prompt: string, thinking: string): string =>
    JSON.stringify({
      messages: [
        { role: 'user', content: prompt },
        { role: 'assistant', reasoning_content: thinking, content: 'four' }
      ]
    })
  const taught = async (name: string, lines: readonly string[], more: object = {}) => {
    const runDir = join(folder, name)
    mkdirSync(runDir)
    writeFileSync(join(runDir, '..', `${name}.jsonl`), lines.join('\n'))
    const recipe = SftRecipe.parse({
      kind: 'sft',
      base,
      output_dir: runDir,
      train: join(folder, `${name}.jsonl`),
      held_out_share: 0.25,
      max_length: 60,
      max_steps: 2,
      train_batch_size: 4,
      eval_samples: 2,
      max_completion_length: 8,
      threads: 1,
      system_message: '',
      lora: { r: 4 },
      ...more
    })
    const events: RunEvent[] = []
    const emit = (event: RunEvent): void => void events.push(event)
    const job = runSft({ recipe, resume: true }, { emit, signal: new AbortController().signal, runDir })
    const failure = await job.then(() => null).catch((error: unknown) => error)
    const said = (level: string): string[] =>
      events.flatMap((event) => (event.kind === 'log' && event.level === level ? [event.text] : []))
    return { failure, events, said, runDir }
  }
  const short = Array.from({ length: 12 }, () => trace('2+2?', 'two and two'))
  const long = Array.from({ length: 30 }, () => trace('2+2?', 'two and two '.repeat(9)))

  test('tells the share of likeliest targets in steps and evaluations, and how evaluations sample', async () => {
    const { failure, events, said } = await taught('accuracy', short)
    expect(failure).toBeNull()
    for (const event of events) {
      if (event.kind !== 'step' && event.kind !== 'evaluation') continue
      expect(event.metrics['mean_token_accuracy']).toBeGreaterThanOrEqual(0)
      expect(event.metrics['mean_token_accuracy']).toBeLessThan(1)
    }
    expect(events.filter(({ kind }) => kind === 'step' || kind === 'evaluation')).toHaveLength(3)
    expect(said('info').join('\n')).toMatch(
      /evaluations sample 2 answers at once, keys and values in f16, in [\d.]+ MiB/
    )
  })

  test('evaluations keep keys and values as the recipe says, or in Q8_0 where only that leaves room', async () => {
    const caches = async (name: string, more: object): Promise<readonly (string | undefined)[]> => {
      opened.length = 0
      const { failure } = await taught(name, short, { base: wide, ...more })
      expect(failure).toBeNull()
      return opened.map(({ cacheType }) => cacheType)
    }
    expect(await caches('plain-cache', {})).toEqual(['f16'])
    expect(await caches('asked-cache', { cache_type: 'q8_0' })).toEqual(['q8_0'])
    // one answer of 200,000 tokens takes 98 MiB in F16, 52 in Q8_0
    const little = { max_completion_length: 200_000, max_steps: 1, eval_samples: 1, memory_limit_mib: 120 }
    const { failure, said } = await taught('little-room', short, { base: wide, ...little })
    expect([failure, said('info').join()]).toEqual([null, expect.stringContaining('keys and values in q8_0')])
  })

  test('sums up what is too long in one sentence and lists it in a file', async () => {
    const { failure, said, runDir } = await taught('long-samples', [...long, ...short])
    expect(failure).toBeNull()
    expect(said('warn')).toHaveLength(1)
    expect(said('warn')[0]).toMatch(/30 of 42 samples are longer than max_length 60 tokens .* line 1 \(\d+ tokens\), .* and 27 more/) // prettier-ignore
    const lines = readFileSync(join(runDir, 'left-out.jsonl'), 'utf8').trimEnd().split('\n')
    expect(lines).toHaveLength(30)
    expect(JSON.parse(lines[29]!)).toMatchObject({ line: 30, reason: 'longer than max_length 60' })
  })

  test('refuses a file with too many malformed samples, and lists them all', async () => {
    const { failure, said, runDir } = await taught('malformed', [...short, '{', '{', '{', '{', '{'])
    expect(failure).toMatchObject({ code: 'data' })
    expect(said('warn')).toHaveLength(1)
    expect(readFileSync(join(runDir, 'left-out.jsonl'), 'utf8').trimEnd().split('\n')).toHaveLength(5)
  })

  test('leaves a sample out that the chat template refuses, and goes on with the others', async () => {
    const template = {
      kind: 'text',
      value: `{% for m in messages %}{% if m['content'] == 'forbidden?' %}{{ raise_exception('not this') }}{% endif %}{% endfor %}${CHAT_TEMPLATE}`
    } as const
    const backend = openBackend({ threads: 1 })
    writeTinyModel(backend, join(folder, 'strict.gguf'), { ...TINY, width: 64, feedForward: 64, layers: 1 }, 1, { 'tokenizer.chat_template': template }) // prettier-ignore
    backend.dispose()
    const more = { base: join(folder, 'strict.gguf'), max_bad_share: 0.5, max_steps: 1, eval_samples: 0 }
    const { failure, said } = await taught('strict', [trace('forbidden?', 'no'), ...short], more)
    expect(failure).toBeNull()
    expect(said('warn').join()).toMatch(/1 of 13 samples are malformed .* line 1 \(.*not this\)/)
  })

  test('is refused where the memory allowed has no room for one answer', async () => {
    const { failure } = await taught('no-room', short, { max_completion_length: 4_000_000, memory_limit_mib: 40 })
    expect(failure).toMatchObject({ code: 'memory', hint: expect.stringContaining('eval_samples: 0') as string })
  })
})
