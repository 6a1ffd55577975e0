/** One layer of any architecture with random weights, over a packed row: what layer gradients are taken of. */
import { Activations } from '../../src/main/engine/activations.ts'
import type { ActivationSettings } from '../../src/main/engine/activations.ts'
import { attentionOf } from '../../src/main/engine/arch/architecture.ts'
import type { Architecture, Layer, ModelConfig, Pass } from '../../src/main/engine/arch/architecture.ts'
import { pack } from '../../src/main/engine/batch.ts'
import type { Linear } from '../../src/main/engine/blocks/linear.ts'
import type { Norm } from '../../src/main/engine/blocks/norm.ts'
import { partsOf } from '../../src/main/engine/blocks/tape.ts'
import type { Rope } from '../../src/main/engine/rope.ts'
import type { Owner } from './owner.ts'
import type { Rig } from './rig.ts'

export const ROPE_OF_TEST: Rope = {
  dimensions: 4,
  mode: 0,
  contextLength: 128,
  base: 100,
  scale: 1,
  extFactor: 0,
  attnFactor: 1,
  betaFast: 32,
  betaSlow: 1
}

export const CONFIG: ModelConfig = {
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
  embeddingScale: 1,
  rope: ROPE_OF_TEST,
  ropeFactors: { short: null, long: null },
  shortContext: 128,
  local: null,
  head: 'output.weight'
}

/** The same layer with a window of 21 tokens and a rotation of its own. */
export const LOCAL: ModelConfig = {
  ...CONFIG,
  local: { window: 21, rope: { ...ROPE_OF_TEST, base: 30, scale: 0.5 }, layers: [true] }
}

/** A row of 96 tokens: sequences of 70 and 20 (whose keys begin inside a grain), and padding. */
const ROW = pack(
  [70, 20].map((n) => ({ tokens: new Int32Array(n), mask: new Uint8Array(n).fill(1) })),
  96
)[0]!
export const T = ROW.tokens.length

/** What a layer gets beside its weights, for ROW in chunks of that many queries, and where it keeps what. */
export function passOf(
  own: Owner,
  rig: Rig,
  architecture: Architecture,
  config: ModelConfig,
  chunkQueries: number,
  settings: Pick<ActivationSettings, 'keep' | 'chunkTokens'> = { keep: 'none' }
): { pass: Pass; activations: Activations } {
  const activations = own(new Activations(rig.backend, architecture, config, T, settings))
  const { chunks } = activations.load(ROW, chunkQueries)
  const { positions, scratch } = activations
  const parts = partsOf(T, settings.chunkTokens)
  return { pass: { positions, parts, chunks, scratch, contextTokens: 128 }, activations }
}

/** [in, out] of every linear that some architecture has. */
const linearSizes = (c: ModelConfig): Record<string, [number, number]> => ({
  q: [c.width, c.headDim * c.heads],
  k: [c.width, c.headDim * c.keyHeads],
  v: [c.width, c.headDim * c.keyHeads],
  qkv: [c.width, c.headDim * (c.heads + 2 * c.keyHeads)],
  o: [c.headDim * c.heads, c.width],
  gate: [c.width, c.feedForward],
  up: [c.width, c.feedForward],
  gateUp: [c.width, 2 * c.feedForward],
  down: [c.feedForward, c.width]
})
const NORMS_OF_HEADS = ['q', 'k']

/** Weights, biases and LoRA of rank 3 trained together. Call before `rig.ready`. */
export function layerOf(
  rig: Rig,
  architecture: Architecture,
  c: ModelConfig
): { layer: Layer; norms: Norm[]; linears: Linear[] } {
  const linears = Object.keys(architecture.linears).map((role): [string, Linear] => {
    const [input, output] = linearSizes(c)[role]!
    const lora = {
      a: rig.random(`${role}.a`, 0.3, input, 3),
      b: rig.random(`${role}.b`, 0.3, 3, output),
      gradA: rig.zeros(input, 3),
      gradB: rig.zeros(3, output),
      scale: 0.8
    }
    const bias = architecture.biases.includes(role)
      ? { value: rig.random(`${role}.bias`, 0.5, output), gradient: rig.zeros(output) }
      : null
    const weight = rig.random(`${role}.w`, 1 / Math.sqrt(input), input, output)
    const [transposed, gradient] = [rig.zeros(output, input), rig.zeros(input, output)]
    return [role, { name: role, weight, transposed, lora, gradient, bias }]
  })
  const norms = Object.keys(architecture.norms).map((role): [string, Norm] => {
    const size = NORMS_OF_HEADS.includes(role) ? c.headDim : c.width
    const weight = rig.random(`${role}.γ`, 1, size)
    return [role, { name: role, weight, gradient: rig.zeros(size), eps: c.normEps }]
  })
  const factors = c.ropeFactors.long === null ? null : rig.positive('factors', c.rope.dimensions / 2)
  const layer: Layer = {
    norms: Object.fromEntries(norms),
    linears: Object.fromEntries(linears),
    ropeFactors: { short: null, long: factors },
    ...attentionOf(c, 0)
  }
  return { layer, norms: norms.map(([, it]) => it), linears: linears.map(([, it]) => it) }
}
