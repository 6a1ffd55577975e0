/** The files of an export in the hands of the programs they are for: node-llama-cpp's own interface, PEFT and Transformers. */
import { execFileSync, spawnSync } from 'node:child_process'
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { hostname } from 'node:os'
import { dirname, join } from 'node:path'
import { getLlama, LlamaLogLevel } from 'node-llama-cpp'
import type { Token } from 'node-llama-cpp'
import { expect, test } from 'vitest'
import { stringify } from 'yaml'
import { seeded } from '../../src/shared/random.ts'
import { LoraSettings, SftRecipe } from '../../src/shared/recipe.ts'
import { createAdapter } from '../../src/main/engine/adapter.ts'
import type { Adapter } from '../../src/main/engine/adapter.ts'
import { policyAnswers } from '../../src/main/engine/agreement.ts'
import type { PolicyAnswer } from '../../src/main/engine/agreement.ts'
import { loadModel } from '../../src/main/engine/model.ts'
import { elements, write } from '../../src/main/engine/tensor.ts'
import { runExport } from '../../src/main/training/export.ts'
import type { MergedFile } from '../../src/main/training/export-merged.ts'
import { runImport } from '../../src/main/training/import.ts'
import { temporaryFolder } from './folder.ts'
import { owner } from './owner.ts'

const own = owner()
const folder = temporaryFolder()
const BUNDLED = join(import.meta.dirname, '../../resources/base/base.gguf')
const TOKENS = 32

type Exported = { readonly adapter: Adapter; readonly to: string; readonly answers: readonly PolicyAnswer[] }

/** An adapter on the bundled base that changes its answers, as a run's, exported. */
async function exported(name: string, more: Partial<Parameters<typeof runExport>[0]>): Promise<Exported> {
  const backend = own.backend()
  const model = own(await loadModel(BUNDLED, backend))
  const adapter = own(await createAdapter(model, LoraSettings.parse({ r: 8 }), 1))
  for (const { target, b } of adapter.pairs) {
    const random = seeded(2, target)
    write(
      backend,
      b,
      Float32Array.from({ length: elements(b) }, () => 0.02 * random.normal())
    )
  }
  const run = join(folder, name)
  mkdirSync(run)
  adapter.save(join(run, 'adapter.gguf'))
  const recipe = SftRecipe.parse({ kind: 'sft', base: BUNDLED, output_dir: run, train: 'none.jsonl', threads: 1 })
  writeFileSync(join(run, 'recipe.yaml'), stringify(recipe))
  const to = join(folder, `${name}-out`)
  const context = { emit: () => undefined, signal: new AbortController().signal, runDir: run }
  const result = (await runExport({ to, quantize: [], ...more }, context)) as { merged: MergedFile[]; lines: string[] }
  console.log(result.lines.join('\n'))
  const prompts = ['What is 17 + 25?', 'What is 7 * 8?'].map((content) =>
    model.vocabulary.tokenize(model.vocabulary.render([{ role: 'user', content }], { addGenerationPrompt: true }), {
      special: true
    })
  )
  return { adapter, to, answers: await policyAnswers(model, adapter, prompts, TOKENS) }
}

/** What a program of somebody else's does: load the one file, evaluate at temperature 0. Ends of turn are passed over. */
async function greedyAnswer(path: string, prompt: Int32Array): Promise<number[]> {
  const llama = await getLlama({
    gpu: false,
    build: 'never',
    skipDownload: true,
    progressLogs: false,
    logLevel: LlamaLogLevel.disabled
  })
  try {
    const model = await llama.loadModel({ modelPath: path })
    const context = await model.createContext({ contextSize: 256, threads: 1 })
    const sequence = context.getSequence()
    const tokens: number[] = []
    const options = { temperature: 0, yieldEogToken: true }
    for await (const token of sequence.evaluate([...prompt] as Token[], options)) {
      tokens.push(token)
      if (tokens.length === TOKENS || model.isEogToken(token)) break
    }
    return tokens
  } finally {
    await llama.dispose()
  }
}

test('node-llama-cpp answers from the merged and the quantised file alone as the policy does', async () => {
  const { adapter, to, answers } = await exported('node', { merge: 'auto', quantize: ['Q8_0'] })
  const { vocabulary } = adapter.model
  let changed = 0
  for (const { prompt, tokens, baseRows, rows } of answers) {
    const end = tokens.findIndex((token) => vocabulary.isEndOfGeneration(token))
    const expected = end < 0 ? tokens : tokens.slice(0, end + 1)
    for (const file of ['merged-F16.gguf', 'merged-Q8_0.gguf'])
      expect(await greedyAnswer(join(to, file), prompt), file).toEqual(expected)
    changed += rows.filter((row, i) => row.some((it, token) => Math.abs(it - baseRows[i]![token]!) > 0.1)).length
  }
  expect(changed).toBe(2 * TOKENS) // the adapter did something everywhere
})

test('an exported PEFT folder, imported, is the adapter again', async () => {
  const { adapter, to } = await exported('there', {})
  const again = join(folder, 'back', 'again.gguf')
  const context = { emit: () => undefined, signal: new AbortController().signal, runDir: '' }
  const input = { adapter: join(to, 'peft'), base: BUNDLED, to: again, threads: 1 }
  const dead = spawnSync(process.execPath, ['-e', '']).pid
  mkdirSync(dirname(again))
  writeFileSync(`${again}.${hostname()}.${dead}.partial`, 'what a killed import left')
  const { agreement, scale } = (await runImport(input, context)) as { agreement: { agrees: boolean }; scale: number }
  expect(agreement.agrees).toBe(true)
  expect(scale).toBeCloseTo(adapter.scale, 6)
  expect(readFileSync(again).equals(readFileSync(join(to, 'adapter.gguf')))).toBe(true)
  expect(readdirSync(dirname(again))).toEqual(['again.gguf'])
  await expect(runImport(input, context)).rejects.toMatchObject({ code: 'usage' })
})

const PYTHON = process.env['REASONSMITH_PYTHON']

/** Logits of every position, by Transformers on the GGUF's dequantised weights. */
function transformers(base: string, sequences: readonly number[][], adapter?: string): number[][][] {
  const script = join(import.meta.dirname, 'golden', 'check_peft_export.py')
  const given = [
    '--base',
    base,
    '--tokens',
    '-',
    '--threads',
    '1',
    ...(adapter === undefined ? [] : ['--adapter', adapter])
  ]
  const options = { encoding: 'utf8', maxBuffer: 1 << 28, input: JSON.stringify(sequences) } as const
  return (JSON.parse(execFileSync(PYTHON!, [script, ...given], options)) as { logits: number[][][] }).logits
}

test.skipIf(PYTHON === undefined)(
  'PEFT and Transformers give the policy’s logits from the exported folder, and from the merged file alone (needs REASONSMITH_PYTHON)',
  { timeout: 300_000 },
  async () => {
    const { to, answers } = await exported('python', { merge: 'F32' })
    const sequences = answers.map(({ prompt, tokens }) => [...prompt, ...tokens.slice(0, -1)])
    const found = {
      'base and PEFT folder': transformers(BUNDLED, sequences, join(to, 'peft')),
      'merged file': transformers(join(to, 'merged-F32.gguf'), sequences)
    }
    for (const [what, logits] of Object.entries(found)) {
      let apart = 0
      answers.forEach(({ prompt, rows }, i) =>
        rows.forEach((row, j) => {
          const theirs = logits[i]![prompt.length - 1 + j]!
          expect(theirs.length).toBe(row.length)
          row.forEach((logit, token) => (apart = Math.max(apart, Math.abs(logit - theirs[token]!))))
        })
      )
      console.log(`${what}: logits differ from the policy's by at most ${apart.toExponential(1)}`)
      // the base's matrices are F16, whose kernel rounds activations to F16, and so does the cache; PyTorch computes in F32.
      // By `roundingBound` that is 0.01 rms at most; the largest of 28,000 normal numbers is 4.5 deviations.
      expect(apart).toBeLessThan(5e-2)
    }
  }
)
