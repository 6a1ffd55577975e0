/** Every composite with a hand-written backward, against central differences. Bounds and their reasons: differences.ts. */
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { attentionOf } from '../../src/main/engine/arch/architecture.ts'
import { llama } from '../../src/main/engine/arch/llama.ts'
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
import { CONFIG, LOCAL, passOf, T } from './layer-rig.ts'
import { owner } from './owner.ts'
import { Rig } from './rig.ts'
import { TINY, writeTinyModel } from './tiny-model.ts'

const own = owner()
/** Heads wide enough for the fused forward. */
const WIDE = { ...CONFIG, headDim: 16 }
const folder = temporaryFolder()

describe('linear', () => {
  const [input, output, tokens] = [12, 20, 9]

  test.each([
    ['frozen', { r: 0, full: false, biased: false }],
    ['with LoRA', { r: 4, full: false, biased: false }],
    ['with LoRA and a frozen bias', { r: 4, full: false, biased: true }],
    ['with LoRA of rank 1', { r: 1, full: false, biased: false }],
    ['trained whole', { r: 0, full: true, biased: true }],
    ['trained whole with LoRA', { r: 4, full: true, biased: false }]
  ] as const)('%s', (_, { r: rank, full, biased }) => {
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
      gradient: full ? rig.zeros(input, output) : null,
      bias: biased ? { value: rig.random('bias', 1, output), gradient: full ? rig.zeros(output) : null } : null
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
      ...(full ? [rig.checked('w', layer.weight, layer.gradient!)] : []),
      ...(layer.bias?.gradient ? [rig.checked('bias', layer.bias.value, layer.bias.gradient)] : [])
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

test.each([
  [128, CONFIG],
  [40, CONFIG],
  [16, CONFIG],
  [128, LOCAL],
  [40, LOCAL],
  [16, LOCAL],
  [64, WIDE],
  [128, WIDE],
  [64, { ...WIDE, local: LOCAL.local }]
])('attention: two sequences and padding, grouped heads, chunks of %i queries, %o', (chunkQueries, config) => {
  const { headDim, heads, keyHeads, attentionScale } = config
  const { window } = attentionOf(config, 0)
  const rig = new Rig(own)
  const q = rig.random('q', 1, headDim, heads, T)
  const k = rig.random('k', 1, headDim, T, keyHeads)
  const v = rig.random('v', 1, headDim, T, keyHeads)
  const out = rig.zeros(headDim * heads, T)
  const dOut = rig.random('dout', 1, headDim * heads, T)
  rig.ready()
  const { pass } = passOf(own, rig, llama, config, chunkQueries)
  const chunks = pass.chunks[window]!
  const g = own(new Graph(rig.backend))
  attention(g, q, k, v, chunks, attentionScale, out)
  own(new GraphAllocator(rig.backend)).allocate(g)
  const back = own(new Graph(rig.backend))
  attentionBack(back, q, k, v, dOut, chunks, attentionScale, pass.scratch)
  own(new GraphAllocator(rig.backend)).allocate(back)
  back.compute()
  const forward = { read: () => (g.compute(), readF32(rig.backend, out)) }
  const { dq, dk, dv } = pass.scratch
  expectGradients(rig.backend, rig.weigh(forward, dOut), [
    rig.checked('q', q, dq),
    rig.checked('k', k, dk),
    rig.checked('v', v, dv)
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
