/** The forward of attention in one operation against the same in steps, over rows of every kind of chunk. */
import { expect, test } from 'vitest'
import { Activations } from '../../src/main/engine/activations.ts'
import { attentionOf } from '../../src/main/engine/arch/architecture.ts'
import { llama } from '../../src/main/engine/arch/llama.ts'
import type { Backend } from '../../src/main/engine/backend.ts'
import { pack } from '../../src/main/engine/batch.ts'
import type { TrainSequence } from '../../src/main/engine/batch.ts'
import { attention, isFused } from '../../src/main/engine/blocks/attention.ts'
import { Graph, GraphAllocator } from '../../src/main/engine/graph.ts'
import { readF32 } from '../../src/main/engine/tensor.ts'
import { relativeDifference } from './compare.ts'
import { CONFIG, LOCAL } from './layer-rig.ts'
import { owner } from './owner.ts'
import { Rig } from './rig.ts'

const own = owner()
const HEAD = 16

/** The same device, said to compute fused attention in less than F32. */
const inSteps = (backend: Backend): Backend => Object.create(backend, { flashInF32: { value: false } }) as Backend

const sequence = (length: number, prompt?: Int32Array): TrainSequence => ({
  tokens: Int32Array.from({ length }, (_, i) => prompt?.[i] ?? 1),
  mask: new Uint8Array(length).fill(1, 1),
  prompt
})

/** A long sequence, two short ones of odd lengths, and a group that shares a prompt. */
function row(): TrainSequence[] {
  const prompt = new Int32Array(99).fill(1)
  return [sequence(290), sequence(77), ...[180, 260, 130].map((n) => sequence(n, prompt)), sequence(201)]
}

test.each([
  [64, CONFIG],
  [128, CONFIG],
  [256, CONFIG],
  [64, LOCAL],
  [128, { ...LOCAL, local: { ...LOCAL.local!, window: 100 } }]
])('chunks of %i queries, %o', (chunkQueries, small) => {
  const config = { ...small, headDim: HEAD, rope: { ...small.rope, dimensions: HEAD } }
  const { window } = attentionOf(config, 0)
  const batch = pack(row(), 1024)[0]!
  const tokens = batch.tokens.length
  const rig = new Rig(own)
  const [q, k, v] = [
    rig.random('q', 1.5, HEAD, config.heads, tokens),
    rig.random('k', 1.5, HEAD, tokens, config.keyHeads),
    rig.random('v', 1, HEAD, tokens, config.keyHeads)
  ]
  rig.ready()
  const [one, steps] = [rig.backend, inSteps(rig.backend)].map((backend) => {
    const activations = own(new Activations(backend, llama, config, tokens, { keep: 'none' }))
    const chunks = activations.load(batch, chunkQueries).chunks[window]!
    const into = activations.kept[0]!['o']!
    const g = own(new Graph(backend))
    attention(g, q, k, v, chunks, config.attentionScale, into)
    own(new GraphAllocator(backend)).allocate(g)
    g.compute()
    return { out: readF32(backend, into), chunks, nodes: g.size }
  })
  expect(one!.nodes).toBeLessThan(steps!.nodes)
  const fused = one!.chunks.filter((chunk) => isFused(rig.backend, HEAD, chunk))
  expect(fused.some(({ mask }) => mask !== null)).toBe(true)
  if (window === 0) expect(fused.some(({ causal }) => causal)).toBe(true)
  if (window === 0 && chunkQueries === 64) {
    expect(fused.some(({ causal, before }) => causal && before > 0)).toBe(true)
    expect(fused.some(({ causal, keys }) => causal && keys.length === 2)).toBe(true)
  }
  expect(relativeDifference(one!.out, steps!.out)).toBeLessThan(1e-6)
})
