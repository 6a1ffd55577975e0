/**
 * How queries, keys and values come of a layer's normed input h [d, T]: projections, norms of the heads, rotation.
 * Queries [D, H, T] and keys are rotated; keys and values are laid out by head [D, T, K]. All but `recall` may be of some of
 * the row's tokens.
 */
import type { ModelConfig } from '../arch/architecture.ts'
import type { Graph } from '../graph.ts'
import type { Tensor } from '../tensor.ts'
import { byHead } from './attention.ts'
import type { AttentionScratch } from './attention.ts'
import type { Tape } from './tape.ts'

export type QueryKeyValue = { readonly q: Tensor; readonly k: Tensor; readonly v: Tensor }

export type Heads = {
  forward(t: Tape, h: Tensor): void
  /** What `forward` made, for the attention over the whole row and its backward. */
  recall(t: Tape): QueryKeyValue
  /** dh of the tape's tokens, from the gradients of the whole row. */
  backward(t: Tape, h: Tensor, d: AttentionScratch): Tensor
  /** Sizes of what is kept for T tokens, by name. */
  kept(c: ModelConfig, tokens: number): Readonly<Record<string, readonly number[]>>
}

/** Long factors where the context of a sequence is longer than the original one, as llama.cpp chooses them. */
const factors = ({ config, layer, pass }: Tape): Tensor | null =>
  pass.contextTokens > config.shortContext ? layer.ropeFactors.long : layer.ropeFactors.short

const rotate = (t: Tape, x: Tensor): Tensor => t.g.rope(x, t.pass.positions, factors(t), t.layer.rope)
const rotateBack = (t: Tape, dy: Tensor): Tensor => t.g.ropeBack(dy, t.pass.positions, factors(t), t.layer.rope)

/** [D·heads, T] ⇄ [D, heads, T]; no data moves. */
const heads = (t: Tape, x: Tensor): Tensor => t.g.reshape(x, t.config.headDim, x.ne[0] / t.config.headDim, t.tokens)
const flat = (g: Graph, x: Tensor): Tensor => g.reshape(x, x.ne[0] * x.ne[1], x.ne[2])

const recallKept = (t: Tape): QueryKeyValue => ({ q: t.kept('q'), k: t.kept('k'), v: t.kept('v') })

const rotatedSizes: Heads['kept'] = (c, tokens) => ({
  q: [c.headDim, c.heads, tokens],
  k: [c.headDim, tokens, c.keyHeads],
  v: [c.headDim, tokens, c.keyHeads]
})

/** dq, dk and dv [D, heads, T] of the tape's tokens before they were rotated. */
function unrotated(t: Tape, d: AttentionScratch): { dq: Tensor; dk: Tensor; dv: Tensor } {
  const [dk, dv] = [d.dk, d.dv].map((it) => byHead(t.g, t.byHead(it)))
  return { dq: rotateBack(t, t.heads(d.dq)), dk: rotateBack(t, dk!), dv: dv! }
}

function sumOfThree(t: Tape, h: Tensor, dq: Tensor, dk: Tensor, dv: Tensor): Tensor {
  const { g } = t
  return g.add(
    g.add(t.linearBack('q', h, flat(g, dq)), t.linearBack('k', h, flat(g, dk))),
    t.linearBack('v', h, flat(g, dv))
  )
}

/** Three matrices `q`, `k`, `v`. */
export const separateHeads: Heads = {
  kept: rotatedSizes,
  forward(t, h) {
    const [q, k, v] = [t.linear('q', h), t.linear('k', h), t.linear('v', h)].map((y) => heads(t, y))
    t.keepHeads('q', rotate(t, q!))
    t.keepByHead('k', rotate(t, k!))
    t.keepByHead('v', v!)
  },
  recall: recallKept,
  backward(t, h, d) {
    const { dq, dk, dv } = unrotated(t, d)
    return sumOfThree(t, h, dq, dk, dv)
  }
}

/** Three matrices; each head of q and k passes an RMS norm (`q`, `k`) before it is rotated. */
export const normedHeads: Heads = {
  kept: (c, tokens) => ({
    'raw q': [c.headDim * c.heads, tokens],
    'raw k': [c.headDim * c.keyHeads, tokens],
    v: [c.headDim, tokens, c.keyHeads]
  }),
  forward(t, h) {
    t.keep('raw q', t.linear('q', h))
    t.keep('raw k', t.linear('k', h))
    t.keepByHead('v', heads(t, t.linear('v', h)))
  },
  recall: (t) => ({
    q: t.noted('q', () => rotate(t, t.norm('q', heads(t, t.kept('raw q'))))),
    k: t.noted('k', () => byHead(t.g, rotate(t, t.norm('k', heads(t, t.kept('raw k')))))),
    v: t.kept('v')
  }),
  backward(t, h, d) {
    const { dq, dk, dv } = unrotated(t, d)
    const rawDq = t.normBack('q', heads(t, t.kept('raw q')), dq)
    const rawDk = t.normBack('k', heads(t, t.kept('raw k')), dk)
    return sumOfThree(t, h, rawDq, rawDk, dv)
  }
}

/** One matrix `qkv` whose rows are those of q, then k, then v. */
export const fusedHeads: Heads = {
  kept: rotatedSizes,
  forward(t, h) {
    const { headDim, heads: queries, keyHeads } = t.config
    const all = heads(t, t.linear('qkv', h)) // [D, H + 2K, T]
    const part = (from: number, count: number): Tensor =>
      t.g.window(all, [headDim, count, all.ne[2], 1], [0, from, 0, 0])
    t.keepHeads('q', rotate(t, part(0, queries)))
    t.keepByHead('k', rotate(t, part(queries, keyHeads)))
    t.keepByHead('v', part(queries + keyHeads, keyHeads))
  },
  recall: recallKept,
  backward(t, h, d) {
    const { dq, dk, dv } = unrotated(t, d)
    return t.linearBack('qkv', h, flat(t.g, t.g.concat(dq, t.g.concat(dk, dv, 1), 1)))
  }
}
