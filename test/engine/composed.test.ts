/** Operations composed for devices that lack them against the kernels of those that have them; what no device has is refused. */
import { expect, test } from 'vitest'
import type { AppError } from '../../src/shared/errors.ts'
import { attention, attentionBack } from '../../src/main/engine/blocks/attention.ts'
import { precisionOf } from '../../src/main/engine/ffi/libraries.ts'
import { Graph, GraphAllocator, PRECISION_F32 } from '../../src/main/engine/graph.ts'
import { selfTest } from '../../src/main/engine/self-test/self-test.ts'
import { readF32, TYPE } from '../../src/main/engine/tensor.ts'
import type { Tensor } from '../../src/main/engine/tensor.ts'
import { relativeDifference } from './compare.ts'
import { METAL_LACKS, without } from './gpu-operations.ts'
import { owner } from './owner.ts'
import { Rig } from './rig.ts'

const own = owner()

const COMPOSED = METAL_LACKS.filter((name) => name !== 'OUT_PROD' && name !== 'GET_ROWS_BACK')

test.each([
  ['softMaxBack', (g: Graph, a: Tensor, b: Tensor) => g.softMaxBack(a, b, 0.3)],
  ['rmsNormBack', (g: Graph, a: Tensor, b: Tensor) => g.rmsNormBack(a, b, 1e-3)],
  ['sumTo', (g: Graph, a: Tensor, _: Tensor, like: Tensor) => g.sumTo(a, like)]
] as const)('%s, composed, is the kernel', (_, describe) => {
  const rig = new Rig(own)
  const [a, b, like] = [rig.random('a', 1, 24, 10), rig.random('b', 1, 24, 10), rig.zeros(24)]
  rig.ready()
  const [kernel, composed] = [rig.backend, without(rig.backend, ...COMPOSED)].map((backend) => {
    const g = own(new Graph(backend))
    const node = g.output(describe(g, a, b, like))
    own(new GraphAllocator(backend)).allocate(g)
    g.compute()
    return { values: readF32(backend, node), size: g.size }
  })
  expect(composed!.size).toBeGreaterThan(kernel!.size)
  expect(relativeDifference(composed!.values, kernel!.values)).toBeLessThan(1e-6)
})

test('maskBehind, composed, leaves nothing behind a query, and every score before it as it was', () => {
  const rig = new Rig(own)
  const [keys, queries, past] = [19, 7, 12]
  const scores = rig.random('scores', 30, keys, queries, 3)
  rig.ready()
  const [kernel, composed] = [rig.backend, without(rig.backend, ...COMPOSED)].map((backend) => {
    const g = own(new Graph(backend))
    const masked = g.maskBehind(scores, past, () => g.stairs(40, 11))
    const [values, weights] = [g.output(masked), g.output(g.softMax(masked, null, 0.3))]
    own(new GraphAllocator(backend)).allocate(g)
    g.compute()
    return { values: readF32(backend, values), weights: readF32(backend, weights), size: g.size }
  })
  expect(composed!.size).toBeGreaterThan(kernel!.size)
  expect(composed!.weights).toEqual(kernel!.weights)
  expect(composed!.values.map((it) => (it < -1e29 ? -Infinity : it))).toEqual(kernel!.values)
  expect(kernel!.values.filter((it) => it === -Infinity)).toHaveLength(3 * ((queries * (queries - 1)) / 2))
})

test('a whole training step without these kernels agrees with double precision', async () => {
  const result = await selfTest(without(own.backend(), ...COMPOSED))
  expect(result.logprobs).toBeLessThan(1e-5)
  expect(result.gradients).toBeLessThan(1e-5)
})

test('an operation that cannot be composed is refused by its name, with what to do', async () => {
  const refused = await selfTest(without(own.backend(), 'ROPE_BACK')).catch((error: unknown) => error as AppError)
  expect(refused).toMatchObject({
    name: 'AppError',
    code: 'device',
    message: expect.stringContaining('cannot compute the operation ROPE_BACK') as string,
    hint: expect.stringContaining('device: cpu') as string
  })
})

test('every product of attention, forward and backward, asks for sums in F32', () => {
  const rig = new Rig(own)
  const [q, k, v] = [rig.random('q', 1, 8, 4, 16), rig.random('k', 1, 8, 16, 2), rig.random('v', 1, 8, 16, 2)]
  const [out, dOut] = [rig.zeros(32, 16), rig.random('d', 1, 32, 16)]
  const scratch = { dq: rig.zeros(8, 4, 16), dk: rig.zeros(8, 16, 2), dv: rig.zeros(8, 16, 2) }
  const chunks = [
    {
      start: 0,
      end: 16,
      keys: [{ start: 0, end: 16 }],
      causal: false,
      before: 0,
      hiding: null,
      mask: rig.pool.add(TYPE.F16, 16, 16)
    }
  ]
  rig.ready()
  const g = own(new Graph(rig.backend))
  attention(g, q, k, v, chunks, 0.3, out)
  attentionBack(g, q, k, v, dOut, chunks, 0.3, scratch)
  const { ggml } = rig.backend.native
  const nodes = Array.from({ length: g.size }, (_, i) => ggml.graph_node(g.handle, i)!)
  const products = nodes.filter((node) => ggml.op_desc(node) === 'MUL_MAT')
  expect(products).toHaveLength(2 + 5)
  for (const node of products) expect(precisionOf(node)).toBe(PRECISION_F32)
  // where it is read is where ggml writes it
  ggml.mul_mat_set_prec(products[0]!, 20)
  expect(precisionOf(products[0]!)).toBe(20)
})
