/** A run that trains the think tokens' rows with its adapter: what it leaves, resumes from, and exports. */
import { cpSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import { stringify } from 'yaml'
import { SftRecipe } from '../../src/shared/recipe.ts'
import { seeded } from '../../src/shared/random.ts'
import { traceLines } from '../../src/main/data/prepare/traces.ts'
import { openBackend } from '../../src/main/engine/backend.ts'
import { readGguf } from '../../src/main/engine/gguf.ts'
import { repurposePlaceholders } from '../../src/main/engine/prepare.ts'
import { tokenTables } from '../../src/main/engine/token-rows.ts'
import { familyOf, generateTasks } from '../../src/main/reasoning/tasks/index.ts'
import { runExport } from '../../src/main/training/export.ts'
import { runSft } from '../../src/main/training/sft.ts'
import { temporaryFolder } from './folder.ts'

const folder = temporaryFolder()
const base = join(folder, 'prepared.gguf')
const traces = join(folder, 'traces.jsonl')
const bundled = fileURLToPath(new URL('../../resources/base/base.gguf', import.meta.url))
const quiet = { emit: () => undefined, signal: new AbortController().signal }

function recipeIn(output_dir: string, tokens: readonly (string | number)[]): SftRecipe {
  const recipe = SftRecipe.parse({
    kind: 'sft',
    base,
    train: traces,
    output_dir,
    threads: 1,
    system_message: '',
    save_steps: 1,
    max_steps: 3,
    train_batch_size: 4,
    max_length: 256,
    max_completion_length: 16,
    eval_samples: 0,
    lora: { r: 4, trainable_token_indices: tokens },
    optimizer: { learning_rate: 0.01, warmup_steps: 0 }
  })
  return recipe
}

/** Where two files of one layout differ: rows of the embedding and of the head, by table and token; others as `elsewhere`. */
async function rowsThatDiffer(one: string, other: string): Promise<string[]> {
  const [a, b] = [readFileSync(one), readFileSync(other)]
  expect(a.length).toBe(b.length)
  const info = await readGguf(one)
  const backend = openBackend({ threads: 1 })
  const tables = tokenTables(backend, info, 'output.weight')
  backend.dispose()
  const places = new Set<string>()
  a.forEach((byte, i) => {
    if (byte === b[i]) return
    const table = tables.find(({ offset, rowBytes, rows }) => i >= offset && i < offset + rowBytes * rows)
    places.add(table ? `${table.name} ${Math.floor((i - table.offset) / table.rowBytes)}` : 'elsewhere')
  })
  return [...places].sort()
}

test('the run leaves a base with the trained rows, resumes bit by bit, and is exported whole', async () => {
  const backend = openBackend({ threads: 1 })
  const renamed = await repurposePlaceholders(bundled, base, backend)
  backend.dispose()
  const tasks = generateTasks({ family: 'arithmetic', difficulty: 2, count: 24, seed: 1 })
  const taught = tasks.map((task, i) => ({ prompt: task.prompt, ...familyOf('arithmetic').teach(task, seeded(1, i)) }))
  writeFileSync(traces, traceLines(taught))
  const whole = join(folder, 'whole')
  const recipe = recipeIn(whole, ['<think>', renamed[1]!.id])
  const result = (await runSft({ recipe, resume: false }, { ...quiet, runDir: whole })) as { lines: string[] }
  writeFileSync(join(whole, 'recipe.yaml'), stringify(recipe))
  expect(result.lines.join('\n')).toContain('base with the trained rows of 2 tokens')
  expect(await rowsThatDiffer(base, join(whole, 'base.gguf'))).toEqual(
    ['output.weight', 'token_embd.weight'].flatMap((name) => renamed.map(({ id }) => `${name} ${id}`))
  )

  const resumed = join(folder, 'resumed')
  cpSync(whole, resumed, { recursive: true })
  for (const name of ['checkpoint-3', 'adapter.gguf', 'token_rows.bin', 'base.gguf'])
    rmSync(join(resumed, name), { recursive: true })
  expect(readdirSync(resumed)).toContain('checkpoint-2')
  await runSft({ recipe: { ...recipe, output_dir: resumed }, resume: true }, { ...quiet, runDir: resumed })
  for (const name of ['adapter.gguf', 'token_rows.bin', 'base.gguf'])
    expect(readFileSync(join(resumed, name)).equals(readFileSync(join(whole, name))), name).toBe(true)

  const to = join(folder, 'exported')
  const exported = (await runExport({ to, quantize: [] }, { ...quiet, runDir: whole })) as {
    files: string[]
    agreement: { agrees: boolean }
  }
  expect(exported.agreement.agrees).toBe(true)
  expect(readdirSync(to).sort()).toEqual(['Modelfile', 'README.md', 'adapter.gguf', 'base.gguf', 'peft'])
  expect(readFileSync(join(to, 'base.gguf')).equals(readFileSync(join(whole, 'base.gguf')))).toBe(true)
  expect(readFileSync(join(to, 'README.md'), 'utf8')).toContain('embedding and head rows of `<think>`')
})

test('a token that the base does not have is refused by name', async () => {
  const recipe = { ...recipeIn(join(folder, 'refused'), ['<nothing>']), base: bundled }
  const run = runSft({ recipe, resume: false }, { ...quiet, runDir: join(folder, 'refused') })
  await expect(run).rejects.toMatchObject({
    code: 'recipe',
    message: expect.stringContaining('<nothing> is no token') as string
  })
})
