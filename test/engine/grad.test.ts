/** Every composite with a hand-written backward, against central differences. Bounds and their reasons: differences.ts. */
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { Activations } from '../../src/main/engine/activations.ts'
import type { Layer, ModelConfig, Pass } from '../../src/main/engine/arch/architecture.ts'
import { llama } from '../../src/main/engine/arch/llama.ts'
import { pack } from '../../src/main/engine/batch.ts'
import { attention, attentionBack } from '../../src/main/engine/blocks/attention.ts'
import { linear, linearBack } from '../../src/main/engine/blocks/linear.ts'
import type { Linear } from '../../src/main/engine/blocks/linear.ts'
import { norm, normBack } from '../../src/main/engine/blocks/norm.ts'
import type { Norm } from '../../src/main/engine/blocks/norm.ts'
import { Graph, GraphAllocator } from '../../src/main/engine/graph.ts'
import { Head } from '../../src/main/engine/head.ts'
import { loadModel } from '../../src/main/engine/model.ts'
import { Parameters } from '../../src/main/engine/parameters.ts'
import { elements, readF32, TYPE, write } from '../../src/main/engine/tensor.ts'
import type { Tensor } from '../../src/main/engine/tensor.ts'
import { expectGradients } from './differences.ts'
import { temporaryFolder } from './folder.ts'
import { owner } from './owner.ts'
import { Rig } from './rig.ts'
import { TINY, writeTinyModel } from './tiny-model.ts'

const own = owner()
const folder = temporaryFolder()

describe('linear', () => {
  const [input, output, tokens] = [12, 20, 9]

  test.each([
    ['frozen', { r: 0, full: false }],
    ['with LoRA', { r: 4, full: false }],
    ['with LoRA of rank 1', { r: 1, full: false }],
    ['trained whole', { r: 0, full: true }],
    ['trained whole with LoRA', { r: 4, full: true }]
  ] as const)('%s', (_, { r: rank, full }) => {
    const lora = rank > 0
    const r = Math.max(rank, 1)
    const rig = new Rig(own)
    const h = rig.random('h', 1, input, tokens)
    const dy = rig.random('dy', 1, output, tokens)
    const dh = rig.zeros(input, tokens)
    const pair = {
      a: rig.random('a', 0.5, input, r),
      b: rig.random('b', 0.5, r, output),
      gradA: rig.zeros(input, r),
      gradB: rig.zeros(r, output),
      scale: 1.7
    }
    const layer: Linear = {
      name: 'linear',
      weight: rig.random('w', 0.4, input, output),
      transposed: rig.zeros(output, input),
      lora: lora ? pair : null,
      gradient: full ? rig.zeros(input, output) : null
    }
    rig.ready()
    const forward = rig.graph((g) => linear(g, layer, h).y)
    rig
      .graph((g) => {
        rig.transposed(g, layer.weight, layer.transposed!)
        return g.cpy(linearBack(g, layer, h, null, dy), dh)
      })
      .compute()
    expectGradients(rig.backend, rig.weigh(forward, dy), [
      rig.checked('h', h, dh),
      ...(lora ? [rig.checked('a', pair.a, pair.gradA), rig.checked('b', pair.b, pair.gradB)] : []),
      ...(full ? [rig.checked('w', layer.weight, layer.gradient!)] : [])
    ])
  })
})

test('norm', () => {
  const [width, tokens] = [16, 7]
  const rig = new Rig(own)
  const x = rig.random('x', 1, width, tokens)
  const dy = rig.random('dy', 1, width, tokens)
  const dx = rig.zeros(width, tokens)
  const layer: Norm = { name: 'norm', weight: rig.random('γ', 1, width), gradient: rig.zeros(width), eps: 1e-2 }
  rig.ready()
  const forward = rig.graph((g) => norm(g, layer, x))
  rig.graph((g) => g.cpy(normBack(g, layer, x, dy), dx)).compute()
  expectGradients(rig.backend, rig.weigh(forward, dy), [
    rig.checked('x', x, dx),
    rig.checked('γ', layer.weight, layer.gradient!)
  ])
})

test('embedding: rows that appear several times, once and never', () => {
  const [width, vocabulary] = [8, 6]
  const rig = new Rig(own)
  const table = rig.random('table', 1, width, vocabulary)
  const gradient = rig.zeros(width, vocabulary)
  const tokens = rig.pool.add(TYPE.I32, 5)
  const dy = rig.random('dy', 1, width, 5)
  rig.ready()
  write(rig.backend, tokens, Int32Array.of(3, 0, 3, 5, 3))
  const forward = rig.graph((g) => g.getRows(table, tokens))
  rig.graph((g) => g.addInto(gradient, g.getRowsBack(dy, tokens, gradient))).compute()
  expectGradients(rig.backend, rig.weigh(forward, dy), [rig.checked('table', table, gradient)])
  expect(readF32(rig.backend, gradient).subarray(4 * width, 5 * width)).toEqual(new Float32Array(width))
})

const CONFIG: ModelConfig = {
  architecture: 'llama',
  layers: 1,
  width: 16,
  feedForward: 24,
  heads: 4,
  keyHeads: 2,
  headDim: 4,
  vocabulary: 10,
  contextLength: 128,
  normEps: 1e-3,
  attentionScale: 0.5,
  rope: {
    dimensions: 4,
    mode: 0,
    contextLength: 128,
    base: 100,
    scale: 1,
    extFactor: 0,
    attnFactor: 1,
    betaFast: 32,
    betaSlow: 1
  },
  head: 'output.weight'
}

/** A row of 96 tokens: sequences of 70 and 20 (whose keys begin inside a grain), and padding. */
const ROW = pack(
  [70, 20].map((n) => ({ tokens: new Int32Array(n), mask: new Uint8Array(n).fill(1) })),
  96
)[0]!
const T = ROW.tokens.length

/** What a layer gets beside its weights, for ROW in chunks of that many queries. */
function passOf(rig: Rig, chunkQueries: number): { pass: Pass; activations: Activations } {
  const activations = own(new Activations(rig.backend, llama, CONFIG, T, 'none'))
  const { chunks } = activations.load(ROW, chunkQueries)
  return { pass: { positions: activations.positions, chunks, scratch: activations.scratch }, activations }
}

test.each([128, 40, 16, 8])(
  'attention: two sequences and padding, grouped heads, chunks of %i queries',
  (chunkQueries) => {
    const { headDim, heads, keyHeads, attentionScale } = CONFIG
    const rig = new Rig(own)
    const q = rig.random('q', 1, headDim, heads, T)
    const k = rig.random('k', 1, headDim, T, keyHeads)
    const v = rig.random('v', 1, headDim, T, keyHeads)
    const out = rig.zeros(headDim * heads, T)
    const dOut = rig.random('dout', 1, headDim * heads, T)
    rig.ready()
    const { pass } = passOf(rig, chunkQueries)
    // chunks of 8 queries lie inside one sequence: without a mask, at its head and behind other keys; others have masks
    const kinds = new Set(pass.chunks.map(({ mask, hiding }) => (mask ? 'mask' : hiding ? 'hiding' : 'causal')))
    if (chunkQueries === 8) expect(kinds).toEqual(new Set(['causal', 'mask', 'hiding']))
    const g = own(new Graph(rig.backend))
    attention(g, q, k, v, pass.chunks, attentionScale, out)
    own(new GraphAllocator(rig.backend)).allocate(g)
    const back = own(new Graph(rig.backend))
    attentionBack(back, q, k, v, dOut, pass.chunks, attentionScale, pass.scratch)
    own(new GraphAllocator(rig.backend)).allocate(back)
    back.compute()
    const forward = { read: () => (g.compute(), readF32(rig.backend, out)) }
    const { dq, dk, dv } = pass.scratch
    expectGradients(rig.backend, rig.weigh(forward, dOut), [
      rig.checked('q', q, dq),
      rig.checked('k', k, dk),
      rig.checked('v', v, dv)
    ])
  }
)

test.each([
  ['activations kept', true],
  ['activations computed again', false]
])('a whole llama layer, weights and LoRA trained together: %s', (_, saved) => {
  const c = CONFIG
  const rig = new Rig(own)
  const sizes: Record<string, [number, number]> = {
    q: [c.width, c.headDim * c.heads],
    k: [c.width, c.headDim * c.keyHeads],
    v: [c.width, c.headDim * c.keyHeads],
    o: [c.headDim * c.heads, c.width],
    gate: [c.width, c.feedForward],
    up: [c.width, c.feedForward],
    down: [c.feedForward, c.width]
  }
  const linears = Object.fromEntries(
    Object.entries(sizes).map(([role, [input, output]]): [string, Linear] => {
      const lora = {
        a: rig.random(`${role}.a`, 0.3, input, 3),
        b: rig.random(`${role}.b`, 0.3, 3, output),
        gradA: rig.zeros(input, 3),
        gradB: rig.zeros(3, output),
        scale: 0.8
      }
      const weight = rig.random(`${role}.w`, 1 / Math.sqrt(input), input, output)
      return [
        role,
        { name: role, weight, transposed: rig.zeros(output, input), lora, gradient: rig.zeros(input, output) }
      ]
    })
  )
  const norms = Object.fromEntries(
    Object.keys(llama.norms).map((role): [string, Norm] => [
      role,
      { name: role, weight: rig.random(`${role}.γ`, 1, c.width), gradient: rig.zeros(c.width), eps: c.normEps }
    ])
  )
  const layer: Layer = { norms, linears, ropeFactors: null }
  const x = rig.random('x', 1, c.width, T)
  const dy = rig.random('dy', 1, c.width, T)
  const dx = rig.zeros(c.width, T)
  rig.ready()
  const { pass, activations } = passOf(rig, 40)
  const slots = activations.kept[0]!
  const forward = rig.graph((g) => llama.forward(g, c, layer, pass, x, slots, (_, node) => node).y)
  rig
    .graph((g) => {
      for (const it of Object.values(linears)) rig.transposed(g, it.weight, it.transposed!)
      const all = llama.forward(g, c, layer, pass, x, slots, (_, node) => node).saved
      const keptNames = Object.keys(llama.kept(c, T))
      const some = Object.fromEntries(Object.entries(all).filter(([name]) => name === 'x' || keptNames.includes(name)))
      return g.cpy(llama.backward(g, c, layer, pass, saved ? some : all, dy), dx)
    })
    .compute()
  expectGradients(rig.backend, rig.weigh(forward, dy), [
    rig.checked('x', x, dx),
    ...Object.values(norms).map((it) => rig.checked(`${it.name} norm`, it.weight, it.gradient!)),
    ...Object.values(linears).flatMap((it) => [
      rig.checked(it.name, it.weight, it.gradient!),
      rig.checked(`${it.name} A`, it.lora!.a, it.lora!.gradA),
      rig.checked(`${it.name} B`, it.lora!.b, it.lora!.gradB)
    ])
  ])
})

test.each([
  ['tied to the embedding, in chunks that do not divide the tokens', true, 3],
  ['with a matrix of its own, in one chunk', false, 8],
  ['with a matrix of its own, token by token', false, 1]
])('the head with an entropy term: %s', async (_, tied, rows) => {
  const rig = new Rig(own)
  const path = join(folder, `head-${tied}.gguf`)
  writeTinyModel(rig.backend, path, { ...TINY, layers: 1, width: 32, feedForward: 32, vocabulary: 120, tied })
  const model = own(await loadModel(path, rig.backend, { writable: true }))
  const parameters = own(new Parameters(model, { kind: 'full' }))
  const head = own(new Head(parameters, rows))
  const hidden = rig.random('hidden', 1, model.config.width, 8)
  const into = rig.zeros(model.config.width, 9)
  rig.ready()
  head.attach(hidden, into)
  const at = Int32Array.of(0, 2, 3, 5, 7)
  const targets = Int32Array.of(4, 9, 4, 119, 0)
  const dLogprob = Float32Array.of(1, -2, 0.5, 3, -1)
  const dEntropy = Float32Array.of(0.7, 0, -1.5, 2, 0)
  const chunks = [...at.keys()]
    .filter((i) => i % rows === 0)
    .map((from) => [from, Math.min(from + rows, at.length)] as const)
  const loss = (): number => {
    let sum = 0
    for (const [from, to] of chunks) {
      const { logprobs, entropy } = head.forward(at, targets, from, to)
      for (let i = 0; i < to - from; i++) sum += dLogprob[from + i]! * logprobs[i]! + dEntropy[from + i]! * entropy[i]!
    }
    return sum
  }
  for (const [from, to] of chunks) {
    head.forward(at, targets, from, to)
    head.backward(dLogprob.subarray(from, to), dEntropy.subarray(from, to))
  }
  const gradientOf = (name: string): Tensor => parameters.list.find((it) => it.name === name)!.gradient
  const weights = ['output_norm.weight', model.config.head]
  const dHidden = readF32(rig.backend, into).subarray(0, elements(hidden))
  expect(dHidden.subarray(model.config.width, 2 * model.config.width)).toEqual(new Float32Array(model.config.width))
  expectGradients(rig.backend, loss, [
    { name: 'hidden', value: hidden, gradient: dHidden },
    ...weights.map((name) => rig.checked(name, model.weight(name), gradientOf(name)))
  ])
})
