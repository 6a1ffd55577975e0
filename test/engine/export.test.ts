/** What is handed over: PEFT's names and rows against PEFT's own export, the GGUF against node-llama-cpp's own interface. */
import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { stringify } from 'yaml'
import { AppError } from '../../src/shared/errors.ts'
import type { Emit } from '../../src/shared/event.ts'
import { EvaluateRecipe, SftRecipe } from '../../src/shared/recipe.ts'
import type { JobInput } from '../../src/shared/worker-contract.ts'
import { seeded } from '../../src/shared/random.ts'
import { dumpAdapter, loadAdapter } from '../../src/main/engine/adapter.ts'
import type { Adapter } from '../../src/main/engine/adapter.ts'
import { compareAdapter, contextFor, policyAnswers } from '../../src/main/engine/agreement.ts'
import type { Agreement } from '../../src/main/engine/agreement.ts'
import { pack } from '../../src/main/engine/batch.ts'
import { loadModel } from '../../src/main/engine/model.ts'
import { Parameters } from '../../src/main/engine/parameters.ts'
import { peftConfig, peftTensors, writePeft } from '../../src/main/engine/peft.ts'
import { readSafetensors, writeSafetensors } from '../../src/main/engine/safetensors.ts'
import { openStock } from '../../src/main/engine/stock.ts'
import { readF32, write } from '../../src/main/engine/tensor.ts'
import { Trainer } from '../../src/main/engine/trainer.ts'
import { keepResults } from '../../src/main/evaluation/run-files.ts'
import { writeCheckpoint } from '../../src/main/training/checkpoint.ts'
import { runExport } from '../../src/main/training/export.ts'
import type { MergedFile } from '../../src/main/training/export-merged.ts'
import { largestDifference } from './compare.ts'
import { logSoftmax } from './decode.ts'
import { temporaryFolder } from './folder.ts'
import { goldenPath, goldenSequence } from './golden.ts'
import { owner } from './owner.ts'
import { wholeDistribution } from './whole-distribution.ts'

const own = owner()
const folder = temporaryFolder()
const BASE = goldenPath('lora-base.gguf')
const ADAPTER = goldenPath('lora-adapter.gguf')

type Oracle = {
  readonly adapter_config: Readonly<Record<string, unknown>>
  readonly tensors: Readonly<Record<string, { shape: number[]; sum: number; values: number[] }>>
}
const oracle = JSON.parse(readFileSync(goldenPath('peft.json'), 'utf8')) as Oracle

async function goldenAdapter(path = ADAPTER): Promise<Adapter> {
  return own(await loadAdapter(own(await loadModel(BASE, own.backend())), path))
}

async function peftFolder(name: string): Promise<{ adapter: Adapter; path: string }> {
  const adapter = await goldenAdapter()
  const path = join(folder, name)
  mkdirSync(path)
  writePeft(adapter, path, 'base')
  return { adapter, path }
}

function changeConfig(path: string, change: Record<string, unknown>): void {
  const file = join(path, 'adapter_config.json')
  writeFileSync(file, JSON.stringify({ ...(JSON.parse(readFileSync(file, 'utf8')) as object), ...change }))
}

describe('PEFT', () => {
  test('names, shapes and values are those of PEFT’s own export', async () => {
    const tensors = peftTensors(await goldenAdapter())
    expect([...tensors.keys()].sort()).toEqual(Object.keys(oracle.tensors).sort())
    for (const [name, { shape, values, sum }] of Object.entries(oracle.tensors)) {
      const ours = tensors.get(name)!
      expect(ours.shape, name).toEqual(shape)
      expect([...ours.data.slice(0, 4), ...ours.data.slice(-4)], name).toEqual(values.map(Math.fround))
      expect(
        ours.data.reduce((total, value) => total + value, 0),
        name
      ).toBeCloseTo(sum, 4)
    }
  })

  test('the configuration says the same as PEFT’s', async () => {
    const config = peftConfig(await goldenAdapter(), 'base')
    const { base_model_name_or_path: _, ...rest } = config
    for (const [key, value] of Object.entries(rest)) expect(value, key).toEqual(oracle.adapter_config[key])
  })

  test('an adapter comes back from its files bit by bit', async () => {
    const { adapter, path } = await peftFolder('round-trip')
    const again = own(await loadAdapter(adapter.model, path))
    expect(again.scale).toBeCloseTo(adapter.scale, 6)
    expect(again.pairs.map(({ target }) => target).sort()).toEqual(adapter.pairs.map(({ target }) => target).sort())
    expect(dumpAdapter(again)).toEqual(dumpAdapter(adapter))
  })

  test('names as other versions save them, and rank-stabilised scaling', async () => {
    const { adapter, path } = await peftFolder('other-names')
    const file = join(path, 'adapter_model.safetensors')
    const renamed = [...readSafetensors(file)].map(([name, tensor]) => [
      name.replace('base_model.model.', '').replace(/\.weight$/, '.default.weight'),
      { shape: tensor.shape, data: tensor.data as Float32Array }
    ])
    writeSafetensors(file, new Map(renamed as [string, { shape: readonly number[]; data: Float32Array }][]))
    changeConfig(path, { use_rslora: true })
    const again = own(await loadAdapter(adapter.model, path))
    expect(dumpAdapter(again)).toEqual(dumpAdapter(adapter))
    expect(again.scale).toBeCloseTo(adapter.scale * Math.sqrt(adapter.r), 5)
  })

  test.each([
    ['use_dora', { use_dora: true }, /use_dora is set/],
    ['rank_pattern', { rank_pattern: { q_proj: 8 } }, /rank_pattern is set/],
    ['a bias', { bias: 'all' }, /trains biases/],
    ['another method', { peft_type: 'IA3' }, /peft_type is "IA3"/],
    ['another rank', { r: 8 }, /is \[4, 64\], this base needs \[8, 64\]/]
  ])('refuses %s', async (name, change, message) => {
    const { adapter, path } = await peftFolder(`refused-${name}`)
    changeConfig(path, change)
    await expect(loadAdapter(adapter.model, path)).rejects.toThrow(message)
  })

  test.skipIf(process.env['REASONSMITH_PYTHON'] === undefined)(
    'PEFT loads the files and computes the same (needs REASONSMITH_PYTHON)',
    { timeout: 300_000 },
    async () => {
      const { adapter, path } = await peftFolder('for-python')
      const sequences = [0, 1].map((i) => goldenSequence('sft', i))
      const script = join(import.meta.dirname, 'golden', 'check_peft_export.py')
      const tokens = JSON.stringify(sequences.map(({ tokens: it }) => [...it]))
      const args = [script, '--base', BASE, '--adapter', path, '--tokens', tokens, '--threads', '1']
      const out = execFileSync(process.env['REASONSMITH_PYTHON']!, args, { encoding: 'utf8', maxBuffer: 1 << 28 })
      const report = JSON.parse(out) as { logits: number[][][]; adapter_tensors: number }
      expect(report.adapter_tensors).toBe(adapter.pairs.length * 2)
      const parameters = own(new Parameters(adapter.model, { kind: 'adapter', adapter }))
      const trainer = own(new Trainer(parameters, { keep: 'all', chunkQueries: 64, headRows: 512 }))
      const { vocabulary } = adapter.model.config
      sequences.forEach((sequence, i) => {
        const theirs = logSoftmax(Float32Array.from(report.logits[i]!.flat()), vocabulary)
        const ours = trainer.score(wholeDistribution(pack([sequence], 64)[0]!, vocabulary)).logprobs
        const apart = largestDifference(ours.subarray(0, theirs.length), theirs)
        console.log(`sequence ${i}: log-probabilities differ from PEFT's by at most ${apart.toExponential(1)}`)
        expect(apart).toBeLessThan(1e-4)
      })
    }
  )
})

/** A run's folder with the golden adapter, trained by nothing. */
function runFolder(name: string): string {
  const path = join(folder, name)
  mkdirSync(path)
  const recipe = SftRecipe.parse({
    kind: 'sft',
    base: BASE,
    output_dir: path,
    train: join(path, 'gone.jsonl'),
    threads: 1
  })
  writeFileSync(join(path, 'recipe.yaml'), stringify(recipe))
  return path
}
/** An evaluation's folder: this adapter has answered its one task. */
function evaluated(name: string, adapter: string): string {
  const path = join(folder, name)
  mkdirSync(path)
  const recipe = EvaluateRecipe.parse({
    kind: 'evaluate',
    base: BASE,
    output_dir: path,
    policies: [{ name: 'taught', adapter }],
    tasksets: [{ name: 'sums', tasks: [{ family: 'arithmetic' }] }]
  })
  writeFileSync(join(path, 'recipe.yaml'), stringify(recipe))
  const run = { correct: true, length: 5, stop: 'eos', verdict: 'correct' } as const
  keepResults(path, {
    results: [{ stage: 'taught', taskset: 'sums', items: [{ taskId: 'a', runs: [run] }] }],
    traces: []
  })
  return path
}

const exported = (
  runDir: string,
  to: string,
  more: Partial<JobInput<'export'>> = {},
  signal = new AbortController().signal,
  emit: Emit = () => undefined
): Promise<unknown> => runExport({ to, quantize: [], ...more }, { emit, signal, runDir })

describe('export', () => {
  test('a finished run: files, and the same logits through node-llama-cpp', async () => {
    const run = runFolder('finished')
    copyFileSync(ADAPTER, join(run, 'adapter.gguf'))
    const to = join(folder, 'out', 'finished')
    const result = (await exported(run, to)) as { agreement: Agreement; lines: string[] }
    expect(result.agreement).toMatchObject({ agrees: true, tokens: 96, sameTokens: 96 })
    expect(result.agreement.largest).toBeLessThan(1e-3)
    expect(readdirSync(to, { recursive: true }).sort()).toEqual(
      [
        'Modelfile',
        'README.md',
        'adapter.gguf',
        'peft',
        join('peft', 'adapter_config.json'),
        join('peft', 'adapter_model.safetensors')
      ].sort()
    )
    expect(readdirSync(join(folder, 'out'))).toEqual(['finished'])
    const card = readFileSync(join(to, 'README.md'), 'utf8')
    expect(card).toContain('lora-base.gguf')
    expect(card).not.toContain(folder)
    const [one, other] = [await goldenAdapter(join(to, 'adapter.gguf')), await goldenAdapter()]
    expect(dumpAdapter(one)).toEqual(dumpAdapter(other))
  })

  test('of a run that did not finish, the best checkpoint by held-out score', async () => {
    const run = runFolder('unfinished')
    const bytes = readFileSync(ADAPTER)
    const about = { recipeHash: '', logBytes: 0, metrics: {} }
    for (const [step, score] of [
      [1, 0.5],
      [2, 0.75],
      [3, 0.25]
    ] as const) {
      writeCheckpoint(run, { ...about, step, score }, new Map([['adapter.gguf', bytes]]))
    }
    const result = (await exported(run, join(folder, 'unfinished-out'))) as { lines: string[] }
    expect(result.lines[0]).toContain('the best checkpoint of unfinished, step 2')
    // The one that is asked for, and only of this run.
    const chosen = join(run, 'checkpoint-3', 'adapter.gguf')
    const other = (await exported(run, join(folder, 'chosen-out'), { adapter: chosen })) as { source: string }
    expect(other.source).toBe(chosen)
    await expect(exported(run, join(folder, 'foreign-out'), { adapter: ADAPTER })).rejects.toThrow(/is no adapter of/)
    expect(existsSync(join(folder, 'foreign-out'))).toBe(false)
  })

  test('merged and quantised: each file is checked, the card and the Modelfile name them', async () => {
    const run = runFolder('merged')
    copyFileSync(ADAPTER, join(run, 'adapter.gguf'))
    writeFileSync(join(run, 'gone.jsonl'), '{"messages":[]}\n\n{"messages":[]}')
    const to = join(folder, 'merged-out')
    const scores = evaluated('measured', join(run, 'adapter.gguf'))
    const result = (await exported(run, to, { merge: 'auto', quantize: ['Q8_0'], scores })) as {
      merged: MergedFile[]
      lines: string[]
      files: string[]
    }
    console.log(result.lines.join('\n'))
    expect(result.merged.map(({ file }) => file)).toEqual(['merged-F16.gguf', 'merged-Q8_0.gguf'])
    for (const { agreement } of result.merged) expect(agreement).toMatchObject({ agrees: true, tokens: 96 })
    for (const file of result.files) expect(existsSync(join(to, file)), file).toBe(true)
    const card = readFileSync(join(to, 'README.md'), 'utf8')
    const sha256 = createHash('sha256').update(readFileSync(BASE)).digest('hex')
    for (const said of [
      'merged-Q8_0.gguf',
      sha256,
      'train: `gone.jsonl`, 2 lines',
      'kind: sft',
      'this adapter is the stage taught'
    ])
      expect(card).toContain(said)
    expect(card).toMatch(/\| sums \| taught \| 100\.0 \|/)
    expect(card).not.toContain(folder)
    const ollama = readFileSync(join(to, 'Modelfile'), 'utf8')
    expect(ollama).toMatch(/^FROM \.\/merged-Q8_0\.gguf\n# FROM \.\/merged-F16\.gguf$/m)
    expect(ollama).not.toContain('ADAPTER')
  })

  test('only quantised: the merged file it is made from does not stay', async () => {
    const run = runFolder('quantised')
    copyFileSync(ADAPTER, join(run, 'adapter.gguf'))
    const to = join(folder, 'quantised-out')
    await exported(run, to, { quantize: ['Q4_0'] })
    expect(readdirSync(to).filter((name) => name.startsWith('merged'))).toEqual(['merged-Q4_0.gguf'])
  })

  test('what rounding cannot explain is an error, and nothing is written', async () => {
    const run = runFolder('too-far')
    const adapter = await goldenAdapter()
    const { backend } = adapter.model
    for (const { b } of adapter.pairs) {
      const random = seeded(1, 'too far', String(b.ptr))
      write(
        backend,
        b,
        readF32(backend, b).map(() => 2 * random.normal())
      )
    }
    adapter.save(join(run, 'adapter.gguf'))
    const to = join(folder, 'too-far-out')
    await expect(exported(run, to, { quantize: ['Q2_K'] })).rejects.toMatchObject({ code: 'export' })
    expect(readdirSync(folder).filter((name) => name.startsWith('too-far-out'))).toEqual([])
  })

  test('stopped while merging it leaves nothing', async () => {
    const run = runFolder('stopped')
    copyFileSync(ADAPTER, join(run, 'adapter.gguf'))
    const stopper = new AbortController()
    const emit: Emit = (event) => {
      if (event.kind === 'phase' && event.name.startsWith('merging')) stopper.abort()
    }
    const to = join(folder, 'stopped-out')
    await expect(exported(run, to, { merge: 'F16' }, stopper.signal, emit)).rejects.toMatchObject({ code: 'cancelled' })
    expect(readdirSync(folder).filter((name) => name.startsWith('stopped-out'))).toEqual([])
  })

  test('an adapter that is not what is in memory is noticed', async () => {
    const adapter = await goldenAdapter()
    const { backend } = adapter.model
    const { b } = adapter.pairs[5]!
    write(
      backend,
      b,
      readF32(backend, b).map((value, i) => (i === 7 ? value + 0.05 : value))
    )
    const prompt = Int32Array.from({ length: 16 }, (_, i) => 5 + i)
    const answers = await policyAnswers(adapter.model, adapter, [prompt], 8)
    const stock = await openStock({ contextTokens: contextFor([prompt], 8), threads: 1 })
    const agreement = await compareAdapter(stock, adapter.model, answers, ADAPTER).finally(() => stock.dispose())
    expect(agreement.baseLargest).toBeLessThan(1e-3)
    expect(agreement.largest).toBeGreaterThan(1e-3)
    expect(agreement.agrees).toBe(false)
  })

  test.each([
    ['a folder with something in it', (run: string) => run, /is not empty/],
    ['nothing that was trained', () => join(folder, 'nowhere'), /neither an adapter nor a checkpoint/]
  ])('refuses %s and writes nothing', async (name, target, message) => {
    const run = runFolder(`refused ${name}`)
    const before = readdirSync(run)
    await expect(exported(run, target(run))).rejects.toThrow(message)
    expect(readdirSync(run)).toEqual(before)
    expect(existsSync(join(folder, 'nowhere'))).toBe(false)
  })

  test('an evaluation has nothing to export', async () => {
    const run = join(folder, 'evaluation')
    mkdirSync(run)
    const tasks = [{ family: 'arithmetic' }]
    const recipe = EvaluateRecipe.parse({
      kind: 'evaluate',
      base: BASE,
      output_dir: run,
      policies: [{ name: 'base' }],
      tasksets: [{ name: 'it', tasks }]
    })
    writeFileSync(join(run, 'recipe.yaml'), stringify(recipe))
    await expect(exported(run, join(folder, 'nowhere'))).rejects.toThrow(AppError)
  })
})
