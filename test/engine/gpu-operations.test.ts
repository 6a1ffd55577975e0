/** Every graph of training with the operations of each GPU backend alone: nothing is refused, and the numbers are the CPU's. */
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { AppError } from '../../src/shared/errors.ts'
import type { Backend } from '../../src/main/engine/backend.ts'
import { pack } from '../../src/main/engine/batch.ts'
import type { TrainSequence } from '../../src/main/engine/batch.ts'
import type { Gpu } from '../../src/main/engine/ffi/libraries.ts'
import { Graph } from '../../src/main/engine/graph.ts'
import { loadModel } from '../../src/main/engine/model.ts'
import { AdamW } from '../../src/main/engine/optimizer.ts'
import { Parameters } from '../../src/main/engine/parameters.ts'
import type { ParameterOptions } from '../../src/main/engine/parameters.ts'
import { readF32, TYPE } from '../../src/main/engine/tensor.ts'
import { Trainer } from '../../src/main/engine/trainer.ts'
import type { TrainerSettings } from '../../src/main/engine/trainer.ts'
import { largestDifference, relativeDifference } from './compare.ts'
import { randomAdapter, randomSequence } from './decode-comparer.ts'
import { temporaryFolder } from './folder.ts'
import { HAS, METAL_LACKS, pretended } from './gpu-operations.ts'
import { owner } from './owner.ts'
import { Rig } from './rig.ts'
import { FAMILIES, SMALL, TRAINED } from './tiny-families.ts'
import type { FamilyName, TinyFamily } from './tiny-families.ts'
import { writeFamily } from './tiny-model.ts'

const own = owner()
const folder = temporaryFolder()
const GPUS = ['cuda', 'vulkan', 'metal'] as const satisfies readonly Gpu[]
function write(name: FamilyName, type: number = TYPE.F32): string {
  const path = join(folder, 'model.gguf')
  const family: TinyFamily = FAMILIES[name]
  writeFamily(own.backend(), path, { ...family, shape: { ...family.shape, ...SMALL } }, { type })
  return path
}

/** Several causal chunks of one sequence, a group that shares a prompt, and short members. */
function row(): TrainSequence[] {
  const prompt = randomSequence(41, 1, SMALL.vocabulary).tokens
  const member = (length: number, seed: number): TrainSequence => {
    const tokens = Int32Array.of(...prompt, ...randomSequence(length, seed, SMALL.vocabulary).tokens)
    return { tokens, mask: new Uint8Array(tokens.length).fill(1, prompt.length), prompt }
  }
  return [
    randomSequence(130, 2, SMALL.vocabulary),
    member(50, 3),
    member(33, 4),
    randomSequence(9, 5, SMALL.vocabulary)
  ]
}

type Step = { readonly logprobs: Float32Array; readonly after: Float32Array; readonly gradients: Float32Array[] }

/** Forward, backward and one update on a packed row; and the policy after it. */
async function step(
  path: string,
  backend: Backend,
  settings: Partial<TrainerSettings> & Pick<ParameterOptions, 'transposes'>
): Promise<Step> {
  const model = own(await loadModel(path, backend))
  const adapter = own(await randomAdapter(model))
  const { transposes } = settings
  const parameters = own(new Parameters(model, { kind: 'adapter', adapter }, { transposes, forward: 'own' }))
  const trainer = own(
    new Trainer(parameters, { keep: 'all', chunkQueries: 32, headRows: 16, contextTokens: 300, ...settings })
  )
  const optimizer = own(
    new AdamW(parameters, { beta1: 0.9, beta2: 0.999, epsilon: 1, weightDecay: 0.1, maxGradNorm: 1 })
  )
  const [batch] = pack(row(), 320)
  const { logprobs } = trainer.accumulate(batch!, (output) => ({
    logprob: output.logprobs.map((_, i) => -0.5 - (i % 7) / 7),
    entropy: output.logprobs.map((_, i) => 0.1 * (i % 3))
  }))
  const gradients = parameters.list.map(({ gradient }) => readF32(backend, gradient))
  expect(optimizer.step({ a: 1e-1, b: 1e-1, weight: 0 }).applied).toBe(true)
  return { logprobs, gradients, after: trainer.score(batch!).logprobs }
}

test('the table looks at how operands lie', () => {
  const rig = new Rig(own)
  const [a, b] = [rig.random('a', 1, 24, 10), rig.random('b', 1, 24, 10)]
  rig.ready()
  const g = own(new Graph(rig.backend))
  const turned = g.permute(a, [1, 0, 2, 3])
  const narrow = g.window(a, [12, 10, 1, 1])
  for (const gpu of GPUS) {
    const { computes } = pretended(rig.backend, gpu)
    const shown = [g.sqr(a), g.sqr(turned), g.add(a, b), g.mulMat(a, b), g.rmsNorm(narrow, 1e-5), g.sqr(narrow)]
    const sqrOfRows = gpu === 'metal' // the others want the whole without gaps
    expect(shown.map(({ ptr }) => computes(ptr)), gpu).toEqual([true, false, true, true, true, sqrOfRows]) // prettier-ignore
  }
})

const seen = new Set<string>()

describe.each(GPUS)('with the operations that %s has', (gpu) => {
  test.each(TRAINED)('%s trains as on the CPU', async (name) => {
    const path = write(name)
    const expected = await step(path, own.backend(), {})
    for (const settings of [
      { keep: 'all', transposes: 'cached' },
      { keep: 'none', transposes: 'per layer', boundaries: 'host' }
    ] as const) {
      const ours = await step(path, pretended(own.backend(), gpu, seen), settings)
      // sums in another order; gemma3: GELU's table of F16
      const bound = name.startsWith('gemma3') ? 1e-3 : 1e-4
      expect(largestDifference(ours.logprobs, expected.logprobs)).toBeLessThan(bound)
      expect(largestDifference(ours.after, expected.after)).toBeLessThan(bound)
      ours.gradients.forEach((it, i) => expect(relativeDifference(it, expected.gradients[i]!)).toBeLessThan(bound))
    }
  })

  test('a quantised base trains', async () => {
    const path = write('llama', TYPE.Q8_0)
    const { gradients } = await step(path, pretended(own.backend(), gpu, seen), { transposes: 'per layer' })
    for (const gradient of gradients) expect(Math.hypot(...gradient)).toBeGreaterThan(0)
  })

  test('every weight of a small model: trained, or refused by the operation’s name', async () => {
    const backend = pretended(own.backend(), gpu, seen)
    const model = own(await loadModel(write('qwen2'), backend, { writable: true }))
    const parameters = own(new Parameters(model, { kind: 'full' }))
    const trainer = own(new Trainer(parameters, { keep: 'all', chunkQueries: 32, headRows: 16 }))
    const [batch] = pack(row(), 320)
    const train = (): unknown =>
      trainer.accumulate(batch!, ({ logprobs }) => ({
        logprob: new Float32Array(logprobs.length).fill(1),
        entropy: new Float32Array(logprobs.length)
      }))
    if ('GET_ROWS_BACK' in HAS[gpu]) expect(train).not.toThrow()
    else {
      expect(train).toThrow(AppError)
      expect(train).toThrow(/cannot compute the operation GET_ROWS_BACK/)
    }
  })
})

test('of the tests above: the table names no operation that nothing asks for', () => {
  const views = ['TRANSPOSE', 'NONE'] // of views, those the engine does not make
  const unused = Object.keys(HAS.cuda).filter((name) => !seen.has(name) && !views.includes(name))
  // OUT_PROD and fused attention are the CPU's ways, see `Backend`; the rest is what Metal has composed for it
  expect(unused.toSorted()).toEqual(['FLASH_ATTN_EXT', 'OUT_PROD'])
  expect(
    Object.keys(HAS.cuda)
      .filter((name) => !(name in HAS.metal))
      .toSorted()
  ).toEqual(METAL_LACKS.toSorted())
})
