/** Training every weight, as a person runs it: what changes, what is written, what samples. Resuming: resume.test.ts. */
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { beforeAll, describe, expect, test } from 'vitest'
import { stringify } from 'yaml'
import { traceLines } from '../../src/main/data/prepare/traces.ts'
import { openBackend } from '../../src/main/engine/backend.ts'
import { pack } from '../../src/main/engine/batch.ts'
import { readGguf } from '../../src/main/engine/gguf.ts'
import { writeInType } from '../../src/main/engine/merge.ts'
import { loadModel } from '../../src/main/engine/model.ts'
import { AdamW } from '../../src/main/engine/optimizer.ts'
import { Parameters } from '../../src/main/engine/parameters.ts'
import { repurposePlaceholders } from '../../src/main/engine/prepare.ts'
import { Trainer } from '../../src/main/engine/trainer.ts'
import { WholeModel } from '../../src/main/engine/whole-model.ts'
import { familyOf, generateTasks } from '../../src/main/reasoning/tasks/index.ts'
import { runExport } from '../../src/main/training/export.ts'
import { runGrpo } from '../../src/main/training/grpo.ts'
import { runPlan } from '../../src/main/training/plan-job.ts'
import type { PlanResult } from '../../src/main/training/plan-job.ts'
import { runSft } from '../../src/main/training/sft.ts'
import type { RunEvent } from '../../src/shared/event.ts'
import { seeded } from '../../src/shared/random.ts'
import { effectiveSettings, GrpoRecipe, SftRecipe } from '../../src/shared/recipe.ts'
import { decodeLogits } from './decode.ts'
import { temporaryFolder } from './folder.ts'
import { owner } from './owner.ts'
import { TINY, writeTinyModel } from './tiny-model.ts'

const own = owner()
const folder = temporaryFolder()
const narrow = join(folder, 'base.gguf')
const base = join(folder, 'base-f32.gguf')
const traces = join(folder, 'traces.jsonl')
const bundled = fileURLToPath(new URL('../../resources/base/base.gguf', import.meta.url))

beforeAll(async () => {
  const backend = openBackend({ threads: 1 })
  await repurposePlaceholders(bundled, narrow, backend)
  const between = (): Promise<void> => Promise.resolve()
  await writeInType({ backend, info: await readGguf(narrow) }, null, base, { type: 'F32', between })
  backend.dispose()
  const tasks = generateTasks({ family: 'arithmetic', difficulty: 2, count: 48, seed: 1 })
  const taught = tasks.map((task, i) => ({ prompt: task.prompt, ...familyOf('arithmetic').teach(task, seeded(1, i)) }))
  writeFileSync(traces, traceLines(taught))
})

describe.each([
  ['a head of its own', { tied: false }],
  ['a head that is the embedding', { tied: true }]
])('%s', (name, shape) => {
  test('llama_decode sees the step at once; the file holds the base’s metadata and, loaded, the same logits', async () => {
    const [from, to] = [join(folder, `${name}.gguf`), join(folder, `${name} trained.gguf`)]
    writeTinyModel(own.backend(), from, { ...TINY, ...shape }, 1)
    const model = own(await loadModel(from, own.backend(), { writable: true }))
    const parameters = own(new Parameters(model, { kind: 'full' }))
    const trainer = own(new Trainer(parameters, { keep: 'all', chunkQueries: 64, headRows: 16 }))
    const settings = { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weightDecay: 0, maxGradNorm: 1 }
    const optimizer = own(new AdamW(parameters, settings))
    const whole = own(new WholeModel(parameters))
    const tokens = model.vocabulary.tokenize('in the tin an ant ate')
    const before = decodeLogits(model, tokens, null)
    const [row] = pack([{ tokens, mask: new Uint8Array(tokens.length).fill(1) }], tokens.length)
    const step = (): number => {
      trainer.accumulate(row!, ({ logprobs }) => ({
        logprob: new Float32Array(logprobs.length).fill(-1),
        entropy: new Float32Array(logprobs.length)
      }))
      return optimizer.step({ a: 0, b: 0, weight: 1e-2 }, 1).gradNorm
    }
    const gradient = step()
    const after = decodeLogits(model, tokens, null)
    expect(after).not.toEqual(before)

    writeFileSync(to, Buffer.concat([...whole.pieces()]))
    const loaded = own(await loadModel(to, own.backend()))
    expect(decodeLogits(loaded, tokens, null)).toEqual(after)
    const [a, b] = [readFileSync(from), readFileSync(to)]
    const first = Math.min(...[...model.info.tensors.values()].map(({ offset }) => offset))
    expect(b.length).toBe(a.length)
    expect(b.subarray(0, first).equals(a.subarray(0, first))).toBe(true)
    // every weight, norms and embedding included, has moved
    const bytes = ({
      type: _,
      ne,
      offset
    }: {
      type: number
      ne: readonly number[]
      offset: number
    }): [number, number] => [offset, offset + 4 * ne.reduce((product, n) => product * n, 1)]
    for (const [tensor, place] of model.info.tensors)
      expect(a.subarray(...bytes(place)).equals(b.subarray(...bytes(place))), tensor).toBe(false)

    writeFileSync(to, a)
    whole.restore(to)
    expect(decodeLogits(model, tokens, null)).toEqual(before)
    expect(step()).toBe(gradient) // the backward's transposes are of these weights too
  })
})

type Ran = { events: RunEvent[]; result: { model?: string; adapter?: string; lines: string[] }; runDir: string }

const recipeOf = (kind: string, output_dir: string, more: object): object => {
  const common = { base, finetuning_type: 'full', output_dir, device: 'cpu', threads: 1, system_message: '' }
  return { kind, ...common, ...more }
}

async function ran(kind: 'sft' | 'grpo', name: string, more: object): Promise<Ran> {
  const runDir = join(folder, name)
  mkdirSync(runDir)
  const events: RunEvent[] = []
  const means = { emit: (event: RunEvent) => void events.push(event), signal: new AbortController().signal, runDir }
  const given = recipeOf(kind, runDir, more)
  const result = await (kind === 'sft'
    ? runSft({ recipe: SftRecipe.parse(given), resume: false }, means)
    : runGrpo({ recipe: GrpoRecipe.parse(given), resume: false }, means))
  return { events, result: result as Ran['result'], runDir }
}

const metric = ({ events }: Ran, kind: 'step' | 'evaluation', name: string): number[] =>
  events.flatMap((event) => (event.kind === kind ? [event.metrics[name]!] : []))

const SFT = {
  train: traces,
  max_length: 256,
  max_completion_length: 24,
  train_batch_size: 8,
  held_out_share: 0.2,
  eval_samples: 2,
  eval_steps: 4,
  max_steps: 8,
  optimizer: { learning_rate: 5e-4, warmup_steps: 0 }
}

test('SFT lowers the loss, and its model.gguf is the policy that was measured', async () => {
  const trained = await ran('sft', 'sft', SFT)
  const losses = metric(trained, 'evaluation', 'loss')
  expect(losses).toHaveLength(2)
  expect(losses[1]!).toBeLessThan(losses[0]!)
  expect(trained.result.model).toBe(join(trained.runDir, 'model.gguf'))
  expect(trained.result.adapter).toBeUndefined()
  expect(trained.events.find(({ kind }) => kind === 'plan')).toMatchObject({
    lines: expect.arrayContaining([expect.stringMatching(/^adapter +0\.0 MiB/)]) as unknown
  })
  // a step that changes nothing measures what it starts from
  const still = { optimizer: { learning_rate: 1e-30, weight_decay: 0, warmup_steps: 0 }, max_steps: 1, eval_steps: 1 }
  const again = await ran('sft', 'again', { ...SFT, base: trained.result.model, ...still })
  expect(metric(again, 'evaluation', 'loss')).toEqual([losses[1]])
  const [one, other] = [trained.result.model!, again.result.model!].map((path) => readFileSync(path))
  expect(other!.equals(one!)).toBe(true)
})

test('GRPO: after each step the rollouts come from the new weights', async () => {
  const grpo = await ran('grpo', 'grpo', {
    tasks: [{ family: 'arithmetic', difficulty: 1, count: 16 }],
    max_steps: 3,
    prompts_per_step: 2,
    num_generations: 4,
    max_prompt_length: 64,
    max_completion_length: 24,
    dynamic_sampling: false,
    stop_clipped: 1,
    entropy_coef: 1, // something to learn, whatever the rewards are
    optimizer: { learning_rate: 1e-3, warmup_steps: 0 }
  })
  // had the sampler the weights of before, it would differ from the trainer by what a step changes
  const differences = metric(grpo, 'step', 'sampling/sampling_logp_difference/mean')
  expect(differences).toHaveLength(3)
  for (const difference of differences) expect(difference).toBeLessThan(1e-3)
  expect(metric(grpo, 'step', 'entropy')[2]).not.toBeCloseTo(metric(grpo, 'step', 'entropy')[0]!, 1)
  expect(readFileSync(join(grpo.runDir, 'model.gguf')).equals(readFileSync(base))).toBe(false)
})

test('a base in another type is refused before it is loaded, in a run and in a plan: tensor, type, what to do', async () => {
  const words = { code: 'model', message: expect.stringMatching(/token_embd\.weight is F16/) as string }
  await expect(ran('sft', 'narrow', { ...SFT, base: narrow })).rejects.toMatchObject({
    ...words,
    hint: expect.stringMatching(/prepare BASE --f32.*finetuning_type: lora/) as string
  })
  const recipe = SftRecipe.parse({ kind: 'sft', base: narrow, output_dir: folder, finetuning_type: 'full', ...SFT })
  const means = { emit: () => undefined, signal: new AbortController().signal, runDir: folder }
  await expect(runPlan({ recipe }, means)).rejects.toMatchObject(words)
  const plan = (await runPlan({ recipe: { ...recipe, base } }, means)) as PlanResult
  const mib = (name: string): number => plan.rows.find((row) => row.name === name)!.mib
  expect(mib('gradients')).toBeCloseTo(mib('weights'), 1)
  expect(mib('optimizer')).toBeGreaterThan(2 * mib('weights'))
})

test('a plan without room names the way out', async () => {
  const run = ran('sft', 'small', { ...SFT, memory_limit_mib: 30 })
  await expect(run).rejects.toMatchObject({
    code: 'memory',
    hint: expect.stringContaining('finetuning_type: lora') as string
  })
})

test('the export: the whole model, loaded again by stock llama.cpp, smaller ones beside it, and nothing that needs an adapter', async () => {
  const runDir = join(folder, 'sft')
  writeFileSync(
    join(runDir, 'recipe.yaml'),
    stringify(effectiveSettings(SftRecipe.parse(recipeOf('sft', runDir, SFT))))
  )
  const to = join(folder, 'exported')
  const means = { emit: () => undefined, signal: new AbortController().signal, runDir }
  const exported = (await runExport({ to, merge: 'F16', quantize: ['Q8_0'] }, means)) as {
    files: string[]
    lines: string[]
    agreement: { agrees: boolean; largest: number; sameTokens: number; tokens: number }
    learned: { meanKl: number }
    merged: { file: string; agreement: { agrees: boolean; carried: number } }[]
  }
  expect(readdirSync(to).sort()).toEqual(['Modelfile', 'README.md', 'model-F16.gguf', 'model-Q8_0.gguf', 'model.gguf'])
  expect(exported.files).toEqual(['model.gguf', 'model-F16.gguf', 'model-Q8_0.gguf', 'Modelfile', 'README.md'])
  expect(exported.agreement).toMatchObject({ agrees: true, sameTokens: exported.agreement.tokens })
  expect(exported.agreement.largest).toBeLessThan(1e-3)
  expect(exported.learned.meanKl).toBeGreaterThan(0.01) // it is not the base that was compared
  for (const { agreement } of exported.merged) expect(agreement.carried).toBeGreaterThan(0.9)
  expect(exported.lines.join('\n')).toContain('no adapter and no PEFT folder: every weight was trained')

  const [trained, handed] = [await readGguf(join(runDir, 'model.gguf')), await readGguf(join(to, 'model.gguf'))]
  expect(handed.text('general.name')).toBe('Reasonsmith base + sft')
  expect(handed.text('tokenizer.chat_template')).toBe(trained.text('tokenizer.chat_template'))
  const data = (info: typeof trained): Buffer =>
    readFileSync(info.path).subarray(Math.min(...[...info.tensors.values()].map(({ offset }) => offset)))
  expect(data(handed).equals(data(trained))).toBe(true)

  const card = readFileSync(join(to, 'README.md'), 'utf8')
  expect(card).toContain('every weight; this is the model of sft')
  expect(card).toContain('finetuning_type: full')
  expect(card).not.toMatch(/peft:|lora|adapter\.gguf|PeftModel/)
  expect(readFileSync(join(to, 'Modelfile'), 'utf8')).toMatch(
    /^FROM \.\/model-Q8_0\.gguf\n# FROM \.\/model-F16\.gguf\n# FROM \.\/model\.gguf$/m
  )

  const chosen = join(runDir, 'checkpoint-4', 'model.gguf')
  const other = (await runExport({ to: join(folder, 'step 4'), quantize: [], adapter: chosen }, means)) as {
    lines: string[]
  }
  expect(other.lines[0]).toContain('the checkpoint of sft, step 4')
  const foreign = runExport({ to: join(folder, 'none'), quantize: [], adapter: base }, means)
  await expect(foreign).rejects.toThrow(/is no model of/)
})
