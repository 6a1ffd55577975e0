/** A run killed with SIGKILL at any moment and started again ends with the same parameters and metrics, bit for bit. */
import { spawn } from 'node:child_process'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { setTimeout as wait } from 'node:timers/promises'
import { beforeAll, describe, expect, it } from 'vitest'
import { openBackend } from '../../src/main/engine/backend.ts'
import { readGguf } from '../../src/main/engine/gguf.ts'
import { writeInType } from '../../src/main/engine/merge.ts'
import { repurposePlaceholders } from '../../src/main/engine/prepare.ts'
import { familyOf, generateTasks } from '../../src/main/reasoning/tasks/index.ts'
import { traceLines } from '../../src/main/data/prepare/traces.ts'
import { readRunLog } from '../../src/main/training/run-log.ts'
import { seeded } from '../../src/shared/random.ts'
import { temporaryFolder } from './folder.ts'

const folder = temporaryFolder()
const base = join(folder, 'base.gguf')
const wide = join(folder, 'base-f32.gguf')
const traces = join(folder, 'traces.jsonl')
const fixture = fileURLToPath(new URL('resume.fixture.ts', import.meta.url))
const bundled = fileURLToPath(new URL('../../resources/base/base.gguf', import.meta.url))

beforeAll(async () => {
  const backend = openBackend({ threads: 1 })
  await repurposePlaceholders(bundled, base, backend)
  const between = (): Promise<void> => Promise.resolve()
  await writeInType({ backend, info: await readGguf(base) }, null, wide, { type: 'F32', between })
  backend.dispose()
  const tasks = generateTasks({ family: 'arithmetic', difficulty: 2, count: 80, seed: 1 })
  writeFileSync(
    traces,
    traceLines(tasks.map((task, i) => ({ prompt: task.prompt, ...familyOf('arithmetic').teach(task, seeded(1, i)) })))
  )
})

const common = { base, device: 'cpu', threads: 1, system_message: '', save_steps: 1, max_completion_length: 24 }
const lora = {
  sft: {
    kind: 'sft',
    ...common,
    train: traces,
    max_steps: 5,
    train_batch_size: 8,
    max_length: 256,
    eval_steps: 2,
    eval_samples: 2
  },
  grpo: {
    kind: 'grpo',
    ...common,
    tasks: [{ family: 'arithmetic', difficulty: 1, count: 40 }],
    held_out: [{ family: 'arithmetic', difficulty: 1, count: 4, seed: 9 }],
    max_steps: 5,
    prompts_per_step: 3,
    num_generations: 4,
    max_prompt_length: 64,
    num_iterations: 2,
    kl_target: 'base',
    eval_steps: 2,
    max_refills: 1,
    optimizer: { learning_rate: 1e-3 }
  }
} as const
const full = { base: wide, finetuning_type: 'full', optimizer: { learning_rate: 1e-4 } } as const
const RECIPES = {
  ...lora,
  'sft, every weight': { ...lora.sft, ...full },
  'grpo, every weight': { ...lora.grpo, ...full, kl_target: 'old' }
} as const
const TRAINED: Readonly<Record<keyof typeof RECIPES, string>> = {
  sft: 'adapter.gguf',
  grpo: 'adapter.gguf',
  'sft, every weight': 'model.gguf',
  'grpo, every weight': 'model.gguf'
}

/** Runs to the end; each number kills a start of the run with SIGKILL after that many milliseconds. */
async function run(
  kind: keyof typeof RECIPES,
  name: string,
  kills: readonly number[]
): Promise<{ killed: number; out: string }> {
  const out = join(folder, name)
  const recipe = join(folder, `${name}.json`)
  writeFileSync(recipe, JSON.stringify({ ...RECIPES[kind], output_dir: out }))
  let killed = 0
  for (const afterMs of [...kills, Infinity]) {
    const child = spawn(process.execPath, [fixture, RECIPES[kind].kind, recipe], {
      stdio: ['ignore', 'ignore', 'pipe']
    })
    let complaint = ''
    child.stderr.on('data', (text) => (complaint += String(text)))
    const ended = new Promise<number | null>((done) => child.once('exit', (code) => done(code)))
    if (afterMs !== Infinity) {
      await Promise.race([wait(afterMs), ended])
      if (child.kill('SIGKILL')) killed++
      await ended
      if (existsSync(join(out, TRAINED[kind]))) break
    } else expect(await ended, complaint).toBe(0)
  }
  return { killed, out }
}

/** Every metric but times, rates and memory, which no two runs share. */
function metricsOf(out: string): unknown[] {
  const timed = /^(timing_s\/|memory_mib\/|tokens_per_second\/|step_time$)/
  return readRunLog(out)
    .filter((event) => event.kind === 'step' || event.kind === 'evaluation')
    .map(({ kind, step, metrics }) => ({
      kind,
      step,
      metrics: Object.fromEntries(Object.entries(metrics).filter(([name]) => !timed.test(name)))
    }))
}

describe.each(Object.keys(RECIPES) as (keyof typeof RECIPES)[])('%s', (kind) => {
  it('ends the same when it was killed at random moments', { timeout: 180_000 }, async () => {
    const started = performance.now()
    const whole = await run(kind, `${kind}-whole`, [])
    const wholeMs = performance.now() - started
    const random = seeded(Date.now()) // other moments at every run of the test; the seed is in the message below
    // The machine may have become faster since: where no start lived long enough to be killed, the moments come earlier.
    let kills: number[] = []
    let broken = { killed: 0, out: '' }
    for (let share = 0.5; broken.killed === 0 && share > 0.05; share /= 2) {
      kills = Array.from({ length: 3 }, () => Math.round(wholeMs * share * (0.6 + 0.8 * random.next())))
      broken = await run(kind, `${kind}-killed-${share}`, kills)
    }
    expect(broken.killed, `killed after ${kills.join(', ')} of ${Math.round(wholeMs)} ms`).toBeGreaterThan(0)
    const message = `killed after ${kills.join(', ')} ms`
    expect(metricsOf(broken.out), message).toEqual(metricsOf(whole.out))
    expect(
      readFileSync(join(broken.out, TRAINED[kind])).equals(readFileSync(join(whole.out, TRAINED[kind]))),
      message
    ).toBe(true)
  })
})
