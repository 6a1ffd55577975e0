/** The memory plan against what the engine then takes. Nothing of a plan is measured by computing. */
import { join } from 'node:path'
import { beforeAll, describe, expect, test } from 'vitest'
import type { AppError } from '../../src/shared/errors.ts'
import { LoraSettings } from '../../src/shared/recipe.ts'
import { llama } from '../../src/main/engine/arch/llama.ts'
import { modulesOf } from '../../src/main/engine/arch/targets.ts'
import { createAdapter } from '../../src/main/engine/adapter.ts'
import { Activations } from '../../src/main/engine/activations.ts'
import { openBackend } from '../../src/main/engine/backend.ts'
import { pack } from '../../src/main/engine/batch.ts'
import type { PlannedTraining } from '../../src/main/engine/layer-scratch.ts'
import { trainingChoices } from '../../src/main/engine/memory-choices.ts'
import { planMemory } from '../../src/main/engine/memory.ts'
import { PLAN_ITEMS } from '../../src/main/engine/memory-plan.ts'
import type { Plan, PlanRequest } from '../../src/main/engine/memory-plan.ts'
import { printPlan, requirePlan } from '../../src/main/engine/memory-words.ts'
import { loadModel } from '../../src/main/engine/model.ts'
import type { Model } from '../../src/main/engine/model.ts'
import { Parameters } from '../../src/main/engine/parameters.ts'
import { Trainer } from '../../src/main/engine/trainer.ts'
import { temporaryFolder } from './folder.ts'
import { owner } from './owner.ts'
import { writeQuantised } from './quantised.ts'
import type { FileType } from './quantised.ts'
import { TINY, writeTinyModel } from './tiny-model.ts'

const own = owner()
const folder = temporaryFolder()
type Base = FileType | 'tied' | 'wide'
const paths = new Map<Base, string>((['tied', 'wide'] as const).map((name) => [name, join(folder, `${name}.gguf`)]))
const MIB = 2 ** 20

beforeAll(() => {
  const backend = openBackend({ threads: 1 })
  for (const type of ['F32', 'Q4_K'] as const) paths.set(type, writeQuantised(backend, folder, type))
  writeTinyModel(backend, paths.get('tied')!, { ...TINY, tied: true, vocabulary: 500, keyHeads: 4 })
  writeTinyModel(backend, paths.get('wide')!, {
    ...TINY,
    layers: 1,
    heads: 1,
    keyHeads: 1,
    headDim: 256,
    feedForward: 2048
  })
  backend.dispose()
})

const LORA: PlannedTraining = { kind: 'lora', r: 8, targets: modulesOf(llama) }
const FEW: PlannedTraining = { kind: 'lora', r: 3, targets: ['q_proj', 'down_proj'] }
const FULL: PlannedTraining = { kind: 'full' }
const PLENTY = 1e12

async function load(base: Base, trained: PlannedTraining): Promise<Model> {
  return own(await loadModel(paths.get(base)!, own.backend(), { writable: trained.kind === 'full' }))
}

const planFor = (model: Model, request: Partial<PlanRequest>): Plan =>
  planMemory(model.backend, model, { trained: LORA, tokens: 256, limitBytes: PLENTY, ...request })

/** Every plan that a shrinking limit leads to, the one that fits nothing last. */
function chosenBy(model: Model, request: Partial<PlanRequest>): Plan[] {
  const chosen: Plan[] = []
  for (let limitBytes = PLENTY; chosen.at(-1)?.fits !== false; limitBytes = chosen.at(-1)!.totalBytes - 1)
    chosen.push(planFor(model, { ...request, limitBytes }))
  return chosen
}

describe.each([
  ['F32', LORA],
  ['Q4_K', LORA],
  ['F32', FEW],
  ['F32', FULL],
  ['tied', FULL]
] as const)('%s, training %o', (base, trained) => {
  test.each([64, 320, 1024])('rows of %i tokens: the engine takes what the plan says', async (tokens) => {
    const model = await load(base, trained)
    const adapter =
      trained.kind === 'full'
        ? null
        : own(await createAdapter(model, LoraSettings.parse({ r: trained.r, target_modules: trained.targets }), 1))
    const plans = chosenBy(model, { trained, tokens }).slice(0, -1)
    const differing = plans.filter(
      ({ settings: { keep, transposes, chunkTokens } }, i) =>
        plans.findIndex(
          ({ settings: it }) => it.keep === keep && it.transposes === transposes && it.chunkTokens === chunkTokens
        ) === i
    )
    for (const { bytes, settings } of differing) {
      const { forward, transposes } = settings
      const parameters = own(
        new Parameters(model, adapter ? { kind: 'adapter', adapter } : { kind: 'full' }, { forward, transposes })
      )
      const trainer = new Trainer(parameters, settings)
      // one predicted token: the memory is that of the whole row, the time is not
      const [row] = pack(
        [{ tokens: new Int32Array(tokens), mask: Uint8Array.from({ length: tokens }, (_, t) => Number(t === 1)) }],
        tokens
      )
      trainer.score(row!)
      const taken = trainer.bytes
      trainer.dispose()
      const held = parameters.bytes
      expect(bytes.scratch).toBe(taken.scratch)
      const pairs: [name: string, planned: number, taken: number][] = [
        ['activations', bytes.boundaries + bytes.activations, taken.activations],
        ['head', bytes['head chunk'], taken.head],
        ['gradients', bytes.gradients, held.gradients],
        [
          'moments',
          bytes.optimizer,
          held.moments + Math.max(...parameters.list.map(({ value }) => value.ne[0] * value.ne[1])) * 4
        ],
        ['copies', bytes.copies, held.copies]
      ]
      for (const [name, ours, theirs] of pairs) expect(Math.abs(ours / theirs - 1), name).toBeLessThan(0.02)
    }
    expect(new Set(differing.map(({ settings }) => settings.keep))).toEqual(new Set(['all', 'none']))
    expect(differing.length).toBeGreaterThan(2)
  })
})

test.each([1, 100, 1000, 1050])(
  'a row of at most %i tokens is planned as the row they are padded to',
  async (tokens) => {
    const model = await load('F32', FEW)
    const adapter = own(
      await createAdapter(model, LoraSettings.parse({ r: 3, target_modules: ['q_proj', 'down_proj'] }), 1)
    )
    const { bytes, settings } = planFor(model, { trained: FEW, tokens })
    const parameters = own(new Parameters(model, { kind: 'adapter', adapter }, settings))
    const trainer = own(new Trainer(parameters, settings))
    trainer.score(pack([{ tokens: new Int32Array(tokens), mask: new Uint8Array(tokens) }], tokens)[0]!)
    expect(bytes.scratch).toBe(trainer.bytes.scratch)
    expect(bytes.boundaries + bytes.activations + bytes.masks).toBeGreaterThanOrEqual(trainer.bytes.activations)
  }
)

test.each([
  [1024, [1024]],
  [1024, [1000]],
  [1024, [500, 524]],
  [1024, [70, 900, 54]],
  [1024, Array<number>(20).fill(51)],
  [1024, Array<number>(512).fill(2)],
  [320, [300, 20]],
  [64, [33, 31]]
])('masks take at most what is planned: rows of %i tokens, sequences of %j', async (tokens, lengths) => {
  const model = await load('F32', FEW)
  const { bytes } = planFor(model, { trained: FEW, tokens })
  const [row] = pack(
    lengths.map((n) => ({ tokens: new Int32Array(n), mask: new Uint8Array(n) })),
    tokens
  )
  for (const chunkQueries of [256, 64]) {
    const planned = planFor(model, { trained: FEW, tokens, limitBytes: chunkQueries === 256 ? PLENTY : 1 })
    expect(planned.settings.chunkQueries).toBe(chunkQueries)
    const activations = own(new Activations(model.backend, model.architecture, model.config, tokens, { keep: 'all' }))
    const without = activations.bytes
    activations.load(row!, chunkQueries)
    const taken = activations.bytes - without
    expect(taken).toBeLessThanOrEqual(planned.bytes.masks)
    if (lengths.length === 1 && lengths[0] === tokens) expect(taken).toBe(0)
  }
  expect(bytes.masks).toBeLessThan(tokens * 2048)
})

test('the fastest settings that fit are chosen, and the reason given', async () => {
  const model = await load('Q4_K', LORA)
  const chosen = chosenBy(model, { tokens: 1024 })
  const large = { chunkTokens: 512, chunkQueries: 256, headRows: 64, fits: true }
  const small = { chunkTokens: 512, chunkQueries: 64, headRows: 16, fits: true }
  expect(chosen.map(({ settings, fits }) => ({ ...settings, fits }))).toEqual([
    { forward: 'copies', transposes: 'cached', keep: 'all', ...large },
    { forward: 'own', transposes: 'cached', keep: 'all', ...large },
    { forward: 'own', transposes: 'per layer', keep: 'all', ...large },
    { forward: 'own', transposes: 'cached', keep: 'none', ...large },
    { forward: 'own', transposes: 'per layer', keep: 'none', ...large },
    { forward: 'own', transposes: 'cached', keep: 'none', ...small },
    { forward: 'own', transposes: 'per layer', keep: 'none', ...small },
    { forward: 'own', transposes: 'per layer', keep: 'none', ...small, fits: false }
  ])
  expect(new Set(chosen.map(({ reasons }) => reasons.join())).size).toBe(chosen.length - 1)
  expect(chosen.slice(0, -1).every((plan) => requirePlan(plan) === plan)).toBe(true)
})

test('on the CPU layers are computed in chunks of 512 tokens whatever the limit', async () => {
  const model = await load('Q4_K', LORA)
  const settings = chosenBy(model, { tokens: 1024 }).map((plan) => plan.settings)
  expect(new Set(settings.map(({ chunkTokens }) => chunkTokens))).toEqual(new Set([512]))
  expect(planFor(model, { tokens: 1024 }).reasons).toEqual(['activations are kept: everything fits'])
  expect(planFor(model, { tokens: 512 }).settings.chunkTokens).toBeUndefined()
})

test('on a GPU chunks of tokens come before anything dearer is given up; a row as short as a chunk has none', async () => {
  const loaded = await load('wide', LORA)
  const model = { ...loaded, backend: { ...loaded.backend, isCpu: false } }
  const few = { chunkQueries: 64, headRows: 16 }
  for (const tokens of [512, 2048, 2049]) {
    const [first, second, ...others] = trainingChoices(tokens, false)
    expect(first!.chunkTokens).toBeUndefined()
    expect(second).toEqual(tokens > 2048 ? { ...first, chunkTokens: 2048 } : { ...first, forward: 'own' })
    expect(others.at(-1)).toMatchObject(tokens > 512 ? { chunkTokens: 512, ...few } : few)
  }
  const [whole, parted] = chosenBy(model, { tokens: 8192 })
  expect(whole!.reasons).toEqual(['activations are kept: everything fits'])
  expect(parted!.settings).toEqual({ ...whole!.settings, chunkTokens: 2048 })
  expect(parted!.reasons).toEqual(['layers are computed 2048 tokens at a time: whole rows of 8192 would not fit'])
  expect(printPlan(parted!).join()).toMatch(/keep all, layers in chunks of 2048 tokens, attention in chunks of 256/)
  const differing = PLAN_ITEMS.filter((item) => parted!.bytes[item] !== whole!.bytes[item])
  expect(differing).toEqual(['scratch'])
})

test('rollouts: in turn with training, then smaller keys and values, then fewer at once; a named width or type stays', async () => {
  const model = await load('F32', LORA)
  const rollouts = { width: 64, contextTokens: 1024, promptTokens: 64 }
  const met = (more: object): string[] => {
    const plans = chosenBy(model, { tokens: 64, rollouts: { ...rollouts, ...more } }).filter(({ fits }) => fits)
    const said = plans.map(({ sampling: it }) => `${it!.width} ${it!.cacheType} ${it!.memory}`)
    return said.filter((it, i) => said.indexOf(it) === i)
  }
  const wide = ['64 f16 together', '64 f16 in turn', '64 q8_0 together', '64 q8_0 in turn']
  expect(met({}).slice(0, 5)).toEqual([...wide, '32 f16 in turn'])
  expect(met({}).at(-1)).toMatch(/^[12] q8_0 in turn$/)
  expect(met({ fixedWidth: true })).toEqual(wide)
  expect(met({ fixedWidth: true, cacheType: 'f16' })).toEqual(['64 f16 together', '64 f16 in turn'])
  const narrow = chosenBy(model, { tokens: 64, rollouts }).find(
    ({ sampling: it }) => it!.width === 32 && it!.cacheType === 'q8_0' && it!.memory === 'in turn'
  )
  expect(narrow!.reasons).toEqual(
    expect.arrayContaining([
      '32 sequences are sampled at once: 64 would not fit',
      'keys and values are kept in Q8_0: in F16 they would not fit',
      'sampling and training take their memory in turn: both at once would not fit'
    ])
  )
  const [together, inTurn] = [planFor(model, { rollouts }), planFor(model, { rollouts, limitBytes: planFor(model, { rollouts }).totalBytes - 1 })] // prettier-ignore
  const { bytes } = together
  const training = bytes.boundaries + bytes.activations + bytes.masks + bytes.scratch
  expect(together.totalBytes - inTurn.totalBytes).toBe(Math.min(training, bytes['KV cache'] + bytes.decoding))
})

test('trained token rows count with their state, and have no copies that would hold them as they were', async () => {
  const model = await load('Q4_K', LORA)
  const [without, rows] = [LORA, { ...LORA, tokenRows: 3 } as PlannedTraining].map((trained) => planFor(model, { trained })) // prettier-ignore
  expect([without!.settings.forward, rows!.settings.forward]).toEqual(['copies', 'own'])
  expect(rows!.reasons).toEqual([expect.stringMatching(/faster copies would not know the trained rows$/)])
  const size = 2 * 3 * TINY.width * 4 // embedding and head
  expect(rows!.bytes.adapter - without!.bytes.adapter).toBe(2 * size)
  expect(rows!.bytes.gradients - without!.bytes.gradients).toBe(size)
  expect(rows!.bytes.optimizer - without!.bytes.optimizer).toBe(2 * size)
})

test('a device with memory of its own may leave boundaries to the host, where that has room', async () => {
  const model = await load('Q4_K', LORA)
  const request = { tokens: 1024, hostLimitBytes: PLENTY }
  const chosen = chosenBy(model, request).filter(({ fits }) => fits)
  const hosted = chosen.find(({ settings }) => settings.boundaries === 'host')!
  expect(hosted.hostBytes).toBe((TINY.layers - 1) * TINY.width * 1024 * 4)
  expect(hosted.reasons.join()).toMatch(/waits in host memory/)
  expect(printPlan(hosted)).toContain(`and ${(hosted.hostBytes / MIB).toFixed(1)} MiB of the host’s memory`)
  const limits = { tokens: 1024, limitBytes: hosted.totalBytes }
  expect(planFor(model, { ...limits, hostLimitBytes: hosted.hostBytes }).settings).toEqual(hosted.settings)
  expect(planFor(model, { ...limits, hostLimitBytes: hosted.hostBytes - 1 }).settings.boundaries).toBeUndefined()
  expect(planFor(model, limits).hostBytes).toBe(0)
  // What the host has no room for is no plan: a refusal must not say that less is needed than is allowed.
  const least = chosen.filter(({ settings }) => settings.boundaries === 'host').at(-1)!
  const refused = planFor(model, { tokens: 1024, limitBytes: least.totalBytes, hostLimitBytes: least.hostBytes - 1 })
  expect(refused.fits).toBe(false)
  expect(refused.totalBytes).toBeGreaterThan(least.totalBytes)
  const kept = chosen.find(({ settings: { keep, boundaries } }) => keep === 'none' && boundaries === undefined)!
  expect(kept.bytes.boundaries - hosted.bytes.boundaries).toBe(hosted.hostBytes)
})

test.each([
  ['long rows', { tokens: 4096 }, /^Lower max_length .* packed rows are 4096 tokens/],
  [
    'many rollouts',
    { tokens: 32, rollouts: { width: 256, contextTokens: 4096, promptTokens: 32, fixedWidth: true } },
    /^Lower rollout_width \(256\)/
  ],
  ['a large rank', { tokens: 32, trained: { ...LORA, r: 512 } as PlannedTraining }, /^Lower lora\.r \(512\)/],
  ['every weight', { tokens: 32, trained: FULL }, /^Set finetuning_type: lora/],
  ['a large base', { tokens: 32, trained: { ...LORA, r: 1 } as PlannedTraining }, /^Choose a smaller base/]
])('a plan that does not fit names the setting to change: %s', async (_, request, change) => {
  const model = await load('F32', LORA)
  const needed = planFor(model, { ...request, limitBytes: 1 }).totalBytes
  const plan = planFor(model, { ...request, limitBytes: Math.floor(needed * 0.9) })
  expect(plan.fits).toBe(false)
  expect(plan.change).toMatch(change)
  const refused = (): AppError => {
    try {
      requirePlan(plan)
    } catch (error) {
      return error as AppError
    }
    throw new Error('the plan was accepted')
  }
  expect(refused()).toMatchObject({ name: 'AppError', code: 'memory', hint: plan.change })
  expect(refused().message).toMatch(/^the run needs [\d.]+ MiB, [\d.]+ MiB are allowed$/)
})

test('the cache counts whole grains of 256 tokens per sequence, and weights of our own count twice', async () => {
  const model = await load('F32', LORA)
  const plan = planFor(model, { rollouts: { width: 4, contextTokens: 300, promptTokens: 100 } })
  expect(plan.bytes['KV cache']).toBe(TINY.layers * 2 * (TINY.width / 2) * 4 * 512 * 2)
  const packed = planFor(model, { rollouts: { width: 4, contextTokens: 300, promptTokens: 100, cacheType: 'q8_0' } })
  expect(packed.bytes['KV cache']).toBe((plan.bytes['KV cache'] / 64) * 34)
  expect(planFor(model, {}).bytes['KV cache']).toBe(0)
  expect(planFor(model, { ownWeights: true }).bytes.weights).toBe(2 * plan.bytes.weights)
})

test('rows of 32k tokens can be planned', async () => {
  const model = await load('F32', LORA)
  const plan = planFor(model, { tokens: 32768, limitBytes: 1 })
  expect(plan.settings.chunkQueries).toBe(64)
  expect(plan.bytes.scratch).toBeGreaterThan(32768 * TINY.feedForward * 4)
})

test('the printed plan: one aligned line per item with its unit, the peak, the settings and why', async () => {
  const model = await load('F32', LORA)
  const plan = planFor(model, { tokens: 1024, limitBytes: 96 * MIB })
  const lines = printPlan(plan)
  const items = lines.slice(0, PLAN_ITEMS.length)
  items.forEach((line, i) => expect(line).toMatch(new RegExp(`^${PLAN_ITEMS[i]!} +[\\d.]+ MiB$`)))
  expect(new Set(items.map((line) => line.length)).size).toBe(1)
  expect(lines[PLAN_ITEMS.length]).toMatch(/^peak +[\d.]+ MiB of 96\.0 MiB allowed$/)
  expect(lines).toContain(
    'keep all, layers in chunks of 512 tokens, attention in chunks of 256 queries, head in chunks of 64 tokens'
  )
  expect(lines.at(-1)).toBe(plan.reasons[0])
})
