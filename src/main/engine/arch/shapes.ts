/** The tensors that a model of these settings has, and their shapes: [inputs, outputs] of a matrix, [n] of a norm or a bias. */
import type { GgufTensor } from '../gguf.ts'
import { shape } from '../tensor.ts'
import type { Shape } from '../tensor.ts'
import { biasName } from './architecture.ts'
import type { Architecture, ModelConfig } from './architecture.ts'

type Sizes = (c: ModelConfig) => readonly number[]

const ofHeads = ({ heads, headDim }: ModelConfig): number => heads * headDim
const ofKeys = ({ keyHeads, headDim }: ModelConfig): number => keyHeads * headDim

/** By the role that a linear plays, whatever the architecture. */
const LINEARS: Readonly<Record<string, Sizes>> = {
  q: (c) => [c.width, ofHeads(c)],
  k: (c) => [c.width, ofKeys(c)],
  v: (c) => [c.width, ofKeys(c)],
  qkv: (c) => [c.width, ofHeads(c) + 2 * ofKeys(c)],
  o: (c) => [ofHeads(c), c.width],
  gate: (c) => [c.width, c.feedForward],
  up: (c) => [c.width, c.feedForward],
  gateUp: (c) => [c.width, 2 * c.feedForward],
  down: (c) => [c.feedForward, c.width]
}

/** Of heads; every other norm is over the residual stream. */
const HEAD_NORMS: ReadonlySet<string> = new Set(['q', 'k'])

export type Expected = { readonly ne: Shape; readonly optional: boolean }

/** By name; a model lacks none but optional ones and has no other. */
export function expectedTensors({ norms, linears, biases }: Architecture, c: ModelConfig): Map<string, Expected> {
  const expected = new Map<string, Expected>()
  const add = (name: string | null, ne: readonly number[], optional = false): void => {
    if (name !== null) expected.set(name, { ne: shape(...ne), optional })
  }
  add(c.head, [c.width, c.vocabulary], true)
  add('token_embd.weight', [c.width, c.vocabulary]) // the head's name too, where the two are tied
  add('output_norm.weight', [c.width])
  for (const name of Object.values(c.ropeFactors)) add(name, [c.rope.dimensions / 2], true)
  for (let layer = 0; layer < c.layers; layer++) {
    for (const [role, name] of Object.entries(norms))
      add(`blk.${layer}.${name}`, [HEAD_NORMS.has(role) ? c.headDim : c.width])
    for (const [role, name] of Object.entries(linears)) {
      const ne = LINEARS[role]!(c)
      add(`blk.${layer}.${name}`, ne)
      if (biases.includes(role)) add(`blk.${layer}.${biasName(name)}`, [ne[1]!], true)
    }
  }
  return expected
}

export const hasShape = ({ ne }: GgufTensor, { ne: wanted }: Expected): boolean => ne.every((n, i) => n === wanted[i])
export const inWords = (ne: Shape): string => ne.slice(0, Math.max(1, ne.findLastIndex((n) => n !== 1) + 1)).join(' × ')
