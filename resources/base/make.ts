/**
 * Makes the bundled base: tokenizer, random start, training on generated text, GGUF. Deterministic for a thread count.
 *
 *     node resources/base/make.ts [--steps 2400] [--threads 2] [--out resources/base/base.gguf]
 */
import { appendFileSync, rmSync, writeFileSync } from 'node:fs'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { openBackend } from '../../src/main/engine/backend.ts'
import { pack } from '../../src/main/engine/batch.ts'
import type { PackedBatch, TrainSequence } from '../../src/main/engine/batch.ts'
import { loadModel } from '../../src/main/engine/model.ts'
import type { Model } from '../../src/main/engine/model.ts'
import { AdamW } from '../../src/main/engine/optimizer.ts'
import { Parameters } from '../../src/main/engine/parameters.ts'
import { Trainer } from '../../src/main/engine/trainer.ts'
import { learningRate } from '../../src/main/training/schedule.ts'
import { seeded } from '../../src/shared/random.ts'
import type { Random } from '../../src/shared/random.ts'
import { SHAPE, writeInitial } from './architecture.ts'
import { makeDocument } from './corpus.ts'
import { saveTrained } from './save.ts'
import { toSequence } from './sequences.ts'
import { measure } from './measure.ts'
import { CONTROL_TOKENS, trainTokenizer } from './tokenizer.ts'
import type { Tokenizer } from './tokenizer.ts'

const { values: options } = parseArgs({
  options: {
    steps: { type: 'string', default: '2400' },
    threads: { type: 'string', default: '2' },
    out: { type: 'string', default: `${import.meta.dirname}/base.gguf` },
    log: { type: 'string', default: `${import.meta.dirname}/training.log` }
  }
})

const SEED = 20260
const RECIPE = {
  steps: Number(options.steps),
  rowTokens: 512,
  /** Small steps at first, when a noisy direction is good enough; `from` is the share of the run. */
  rowsPerStep: [
    { from: 0, rows: 1 },
    { from: 0.5, rows: 2 }
  ],
  /** Share of the run in which the documents go from easy to ordinary. */
  easing: 0.2,
  peak: 2e-3,
  warmupSteps: 40,
  vocabulary: 416,
  adamw: { beta1: 0.9, beta2: 0.99, epsilon: 1e-9, weightDecay: 0.02, maxGradNorm: 1 },
  logEvery: 50,
  measureEvery: 600
} as const

function log(fields: Record<string, string | number>): void {
  const line = Object.entries(fields).map(([key, value]) => `${key} ${value}`).join('  ') // prettier-ignore
  console.log(line)
  appendFileSync(options.log, `${line}\n`)
}

function makeTokenizer(): Tokenizer {
  const random = seeded(SEED, 'tokenizer')
  const control = new RegExp(CONTROL_TOKENS.map((name) => name.replaceAll('|', '\\|')).join('|'))
  const texts = Array.from({ length: 20000 }, () => makeDocument(random).replace(/[«»]/g, '').split(control)).flat()
  return trainTokenizer(texts, RECIPE.vocabulary, 3)
}

/** One full row: documents until it is full; the last one is cut off. */
function drawRow(model: Model, random: Random, ease: number): PackedBatch {
  const sequences: TrainSequence[] = []
  for (let room: number = RECIPE.rowTokens; room > 0; room -= sequences.at(-1)!.tokens.length) {
    const { tokens, mask } = toSequence(model.vocabulary, makeDocument(random, ease), random)
    sequences.push({ tokens: tokens.subarray(0, room), mask: mask.subarray(0, room) })
  }
  return pack(sequences, RECIPE.rowTokens)[0]!
}

writeFileSync(options.log, '')
const backend = openBackend({ threads: Number(options.threads) })
const tokenizer = makeTokenizer()
const initial = `${options.out}.initial`
const parameterCount = writeInitial(backend, initial, tokenizer, SEED)
log({ parameters: parameterCount, vocabulary: tokenizer.tokens.length, ...SHAPE })
log({ seed: SEED, steps: RECIPE.steps, rowTokens: RECIPE.rowTokens, easing: RECIPE.easing, peak: RECIPE.peak, warmupSteps: RECIPE.warmupSteps, ...RECIPE.adamw, threads: backend.threads }) // prettier-ignore

const model = await loadModel(initial, backend, { writable: true })
const parameters = new Parameters(model, { kind: 'full' })
const trainer = new Trainer(parameters, { keep: 'all', chunkQueries: 64, headRows: 128 })
const optimizer = new AdamW(parameters, RECIPE.adamw)
const random = seeded(SEED, 'corpus')
const schedule = { ...RECIPE, warmup: 'linear', decay: 'cosine', totalSteps: RECIPE.steps } as const

let tokens = 0
let [loss, counted] = [0, 0]
const started = performance.now()
for (let step = 0; step < RECIPE.steps; step++) {
  let predicted = 0
  const progress = step / RECIPE.steps
  const { rows } = RECIPE.rowsPerStep.findLast(({ from }) => progress >= from)!
  for (let row = 0; row < rows; row++) {
    const batch = drawRow(model, random, Math.max(0, 1 - progress / RECIPE.easing))
    const { logprobs } = trainer.accumulate(batch, (output) => ({
      logprob: new Float32Array(output.logprobs.length).fill(-1),
      entropy: new Float32Array(output.logprobs.length)
    }))
    predicted += logprobs.length
    tokens += batch.tokens.length
    for (const logprob of logprobs) loss -= logprob
  }
  counted += predicted
  const rate = learningRate(step, schedule)
  const { gradNorm, applied } = optimizer.step({ a: 0, b: 0, weight: rate }, 1 / predicted)
  if (!applied) throw new Error(`step ${step}: the gradient is not finite`)
  await nextTurn() // so that Ctrl-C is heard
  const number = step + 1
  if (number % RECIPE.logEvery === 0 || number === 1) {
    const seconds = (performance.now() - started) / 1000
    log({ step: number, loss: (loss / counted).toFixed(4), gradNorm: gradNorm.toFixed(3), rate: rate.toExponential(2), tokens, seconds: seconds.toFixed(0), perSecond: (tokens / seconds).toFixed(0) }) // prettier-ignore
    ;[loss, counted] = [0, 0]
  }
  if (number % RECIPE.measureEvery === 0) {
    log({ heldOut: number, ...measure(trainer) })
    await saveTrained(parameters, options.out)
  }
}
await saveTrained(parameters, options.out)
optimizer.dispose()
trainer.dispose()
parameters.dispose()
model.dispose()
backend.dispose()
rmSync(initial)
