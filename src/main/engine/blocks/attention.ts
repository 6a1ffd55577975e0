/**
 * Causal attention in chunks of queries, forward and backward. A chunk of queries [start, end) meets the keys
 * [keyStart, end): nothing behind its end (causal), nothing before the first sequence it touches (packing), so masked
 * halves are not computed. Query heads that share a key head are folded into the query dimension, so that the sums over
 * them are part of the matrix products.
 *
 * Shapes: headDim D, H query heads, K key heads, R = H / K, T tokens; a chunk has n queries and m keys.
 */
import type { Graph } from '../graph.ts'
import type { Tensor } from '../tensor.ts'

/** The keys of a chunk begin at a multiple of this, so that shapes repeat. */
export const KEY_GRAIN = 64

/** At most this many graph nodes come of one chunk, forward and backward together: graphs are sized by it. */
export const NODES_PER_CHUNK = 64

export type Chunk = {
  readonly start: number
  readonly end: number
  readonly keyStart: number
  /** F16 [m, n]: 0 where a query may look, −∞ elsewhere. Null for a chunk inside one sequence: causal order is enough. */
  readonly mask: Tensor | null
  /** Keys at the front that lie before the sequence of a chunk without mask, fewer than `KEY_GRAIN`, and what strikes them out. */
  readonly before: number
  readonly hiding: Hiding | null
}

/** F32 [KEY_GRAIN + T]: −∞ up to KEY_GRAIN, then 0. A window of it hides any number of keys at the front of any chunk. */
export type Hiding = Tensor

/** Memory for results that are written chunk by chunk; it must outlive the graph's use of them. */
export type AttentionScratch = {
  readonly dq: Tensor // [D, H, T]
  readonly dk: Tensor // [D, T, K]
  readonly dv: Tensor // [D, T, K]
}

/** [D, heads, T] → [D, T, heads], as data. */
export function byHead(g: Graph, x: Tensor): Tensor {
  return g.copy(g.permute(x, [0, 2, 1, 3]))
}

function chunkOf(g: Graph, x: Tensor, chunk: Chunk): Tensor {
  const [headDim, heads] = x.ne
  return byHead(g, g.window(x, [headDim, heads, chunk.end - chunk.start, 1], [0, 0, chunk.start, 0])) // [D, n, H]
}

const keysOf = (g: Graph, x: Tensor, chunk: Chunk): Tensor =>
  g.window(x, [x.ne[0], chunk.end - chunk.keyStart, x.ne[2], 1], [0, chunk.keyStart, 0, 0])

const keyRowsOf = (g: Graph, x: Tensor, chunk: Chunk): Tensor =>
  g.window(x, [chunk.end - chunk.keyStart, x.ne[1], x.ne[2], 1], [chunk.keyStart, 0, 0, 0])

/**
 * Attention weights of one chunk [m, n, H]. Without a mask of its own (masks of a long sequence would cost T² memory) the
 * scores behind each query are struck out in place.
 */
function weights(g: Graph, qc: Tensor, k: Tensor, chunk: Chunk, scale: number): Tensor {
  const scores = g.mulMat(keysOf(g, k, chunk), qc)
  if (chunk.mask) return g.softMax(scores, chunk.mask, scale)
  const causal = g.maskBehind(scores, chunk.start - chunk.keyStart)
  if (!chunk.hiding) return g.softMax(causal, null, scale)
  const hiding = g.window(chunk.hiding, [scores.ne[0], 1, 1, 1], [KEY_GRAIN - chunk.before, 0, 0, 0])
  return g.softMax(g.add(causal, hiding), null, scale)
}

/**
 * q [D, H, T] with positions applied, k and v [D, T, K]; writes the output into `out` [D·H, T] and returns it.
 */
export function attention(
  g: Graph,
  q: Tensor,
  k: Tensor,
  v: Tensor,
  chunks: readonly Chunk[],
  scale: number,
  out: Tensor
): Tensor {
  const [headDim, heads] = q.ne
  const vRows = g.transposed(v) // [T, D, K]
  for (const chunk of chunks) {
    const n = chunk.end - chunk.start
    const p = weights(g, chunkOf(g, q, chunk), k, chunk, scale)
    const o = g.mulMat(keyRowsOf(g, vRows, chunk), p) // [D, n, H]
    const into = g.window(out, [out.ne[0], n, 1, 1], [0, chunk.start, 0, 0])
    g.run(g.cpy(g.permute(o, [0, 2, 1, 3]), g.reshape(into, headDim, heads, n)))
  }
  return out
}

/**
 * Gradients of the attention: dOut [D·H, T] → dq [D, H, T], dk and dv [D, T, K], all in `scratch`.
 * The weights are computed again here: keeping them would cost T² memory.
 */
export function attentionBack(
  g: Graph,
  q: Tensor,
  k: Tensor,
  v: Tensor,
  dOut: Tensor,
  chunks: readonly Chunk[],
  scale: number,
  scratch: AttentionScratch
): AttentionScratch {
  const [headDim, heads, tokens] = q.ne
  const keyHeads = k.ne[2]
  const rep = heads / keyHeads
  const kRows = g.transposed(k) // [T, D, K]
  const dOutHeads = g.reshape(dOut, headDim, heads, tokens)
  g.run(g.fill(scratch.dk, 0))
  g.run(g.fill(scratch.dv, 0))
  for (const chunk of chunks) {
    const n = chunk.end - chunk.start
    const m = chunk.end - chunk.keyStart
    const qc = chunkOf(g, q, chunk)
    const p = weights(g, qc, k, chunk, scale) // [m, n, H]
    const dOc = chunkOf(g, dOutHeads, chunk) // [D, n, H]
    const dS = g.softMaxBack(g.mulMat(keysOf(g, v, chunk), dOc), p, scale) // [m, n, H]
    const dQc = g.mulMat(keyRowsOf(g, kRows, chunk), dS) // [D, n, H]
    g.run(g.cpy(g.permute(dQc, [0, 2, 1, 3]), g.window(scratch.dq, [headDim, heads, n, 1], [0, 0, chunk.start, 0])))
    const overQueries = (x: Tensor): Tensor => g.transposed(g.reshape(x, x.ne[0], n * rep, keyHeads)) // [n·R, …, K]
    g.run(
      g.addInto(
        keysOf(g, scratch.dv, chunk),
        g.mulMat(overQueries(dOc), g.reshape(overQueries(p), n * rep, m, keyHeads))
      )
    )
    g.run(g.addInto(keysOf(g, scratch.dk, chunk), g.mulMat(overQueries(qc), overQueries(dS))))
  }
  return scratch
}
