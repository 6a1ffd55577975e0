/** Runs at their edges, on a small random model: nothing left to train on, no room, a cancel while something is measured. */
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, expect, test } from 'vitest'
import { stringify } from 'yaml'
import { createAdapter } from '../../src/main/engine/adapter.ts'
import { openBackend } from '../../src/main/engine/backend.ts'
import { loadModel } from '../../src/main/engine/model.ts'
import { writePeft } from '../../src/main/engine/peft.ts'
import { runEvaluation } from '../../src/main/evaluation/evaluate.ts'
import { latestCheckpoint } from '../../src/main/training/checkpoint.ts'
import { runGrpo } from '../../src/main/training/grpo.ts'
import type { RunEvent } from '../../src/shared/event.ts'
import { EvaluateRecipe, GrpoRecipe, LoraSettings } from '../../src/shared/recipe.ts'
import { temporaryFolder } from './folder.ts'
import { owner } from './owner.ts'
import { CHAT_TEMPLATE, TINY, writeTinyModel } from './tiny-model.ts'

owner() // counts what the jobs leave behind
const folder = temporaryFolder()
const base = join(folder, 'base.gguf')
const peft = join(folder, 'peft')
const arithmetic = { family: 'arithmetic', difficulty: 1 }

beforeAll(async () => {
  const backend = openBackend({ threads: 1 })
  const template = { kind: 'text', value: CHAT_TEMPLATE } as const
  const shape = { ...TINY, width: 64, feedForward: 64, layers: 1 }
  writeTinyModel(backend, base, shape, 1, { 'tokenizer.chat_template': template })
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

test('a plan that does not fit leaves nothing native behind', async () => {
  const { failure } = await ran(recipeFor('small', { memory_limit_mib: 1 }))
  expect(failure).toMatchObject({ code: 'memory' })
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
