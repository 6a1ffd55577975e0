/**
 * Causal attention in chunks of queries, forward and backward. A chunk of queries meets only the spans of keys that it may
 * see something of (attention-chunks.ts), so masked halves and other sequences are not computed. Query heads that share a
 * key head are folded into the query dimension, so that the sums over them are part of the matrix products.
 *
 * Shapes: headDim D, H query heads, K key heads, R = H / K, T tokens; a chunk has n queries and m keys.
 */
import type { Backend } from '../backend.ts'
import { KEY_GRAIN, keyCount } from '../attention-chunks.ts'
import type { Bounds, Span } from '../attention-chunks.ts'
import type { Graph } from '../graph.ts'
import { TYPE } from '../tensor.ts'
import type { Tensor } from '../tensor.ts'

/** At most this many graph nodes come of one chunk, forward and backward together: graphs are sized by it. */
export const NODES_PER_CHUNK = 96

export type Chunk = Bounds & {
  /** F16 [m, n]: 0 where a query may look, −∞ elsewhere. Null for a chunk inside one sequence: causal order is enough. */
  readonly mask: Tensor | null
  /** What strikes out the keys `before` the sequence of a chunk without mask; null where there are none. */
  readonly hiding: Hiding | null
}

/** ggml's CPU kernel works in tiles of so many queries; it falls back to one by one below that. */
const FUSED_QUERIES = 64
/** Elements of the widest vectors that its tiles are made of. */
const FUSED_ELEMENTS = 16

/**
 * Whether a chunk's forward is one fused operation: it keeps no scores in memory, and its F32 products run at two to four
 * times the speed of the CPU's mul_mat.
 */
export const isFused = ({ flashInF32 }: Backend, headDim: number, { start, end }: Span): boolean =>
  flashInF32 && end - start >= FUSED_QUERIES && headDim % FUSED_ELEMENTS === 0

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

const spanOf = (g: Graph, x: Tensor, { start, end }: Span): Tensor =>
  g.window(x, [x.ne[0], end - start, x.ne[2], 1], [0, start, 0, 0])

const rowSpanOf = (g: Graph, x: Tensor, { start, end }: Span): Tensor =>
  g.window(x, [end - start, x.ne[1], x.ne[2], 1], [start, 0, 0, 0])

/** The chunk's keys of x [D, T, K] → [D, m, K]; a view where they are one span. */
const keysOf = (g: Graph, x: Tensor, chunk: Chunk): Tensor =>
  chunk.keys.map((span) => spanOf(g, x, span)).reduce((first, second) => g.concat(first, second, 1))

/** The chunk's keys of x [T, D, K] → [m, D, K]. */
const keyRowsOf = (g: Graph, x: Tensor, chunk: Chunk): Tensor =>
  chunk.keys.map((span) => rowSpanOf(g, x, span)).reduce((first, second) => g.concat(first, second, 0))

/** Adds gradients of the chunk's keys [D, m, K] where they belong in `into` [D, T, K]. */
function addToKeys(g: Graph, into: Tensor, chunk: Chunk, gradients: Tensor): void {
  let from = 0
  for (const span of chunk.keys) {
    const size = span.end - span.start
    g.run(g.addInto(spanOf(g, into, span), spanOf(g, gradients, { start: from, end: from + size })))
    from += size
  }
}

/**
 * Attention weights of one chunk [m, n, H]. Without a mask of its own (masks of a long sequence would cost T² memory) the
 * scores behind each query are struck out in place.
 */
function weights(g: Graph, qc: Tensor, k: Tensor, chunk: Chunk, scale: number, stairs: () => Tensor): Tensor {
  const scores = g.mulMat(keysOf(g, k, chunk), qc)
  if (chunk.mask) return g.softMax(scores, chunk.mask, scale)
  const causal = g.maskBehind(scores, scores.ne[0] - scores.ne[1], stairs)
  if (!chunk.hiding) return g.softMax(causal, null, scale)
  const hiding = g.window(chunk.hiding, [scores.ne[0], 1, 1, 1], [KEY_GRAIN - chunk.before, 0, 0, 0])
  return g.softMax(g.add(causal, hiding), null, scale)
}

/** One mask that holds those of all chunks without one of their own, which would cost T² memory; made when it is asked for. */
function stairsOf(g: Graph, tokens: number, chunks: readonly Chunk[]): () => Tensor {
  const queries = Math.max(...chunks.map(({ start, end }) => end - start))
  return once(() => g.stairs(tokens, queries))
}

function once<T>(make: () => T): () => T {
  let made: { readonly it: T } | null = null
  return () => (made ??= { it: make() }).it
}

/** The attention of one chunk in one operation [D, H, n]. */
function fused(g: Graph, q: Tensor, k: Tensor, v: Tensor, chunk: Chunk, scale: number, halves: () => Tensor): Tensor {
  const [headDim, heads, tokens] = q.ne
  const n = chunk.end - chunk.start
  const past = keyCount(chunk) - chunk.before - n
  const [first, ...others] = chunk.keys
  const seen = { ...chunk, keys: [{ start: first!.start + chunk.before, end: first!.end }, ...others] }
  const mask = chunk.mask ?? g.window(halves(), [past + n, n, 1, 1], [tokens - past, 0, 0, 0])
  const queries = g.permute(g.window(q, [headDim, heads, n, 1], [0, 0, chunk.start, 0]), [0, 2, 1, 3])
  return g.flashAttention(queries, keysOf(g, k, seen), keysOf(g, v, seen), mask, scale)
}

/** The same by products and a softmax, whose scores are in memory [m, n, H]. */
function inSteps(g: Graph, q: Tensor, k: Tensor, v: Tensor, chunk: Chunk, scale: number, stairs: () => Tensor): Tensor {
  const p = weights(g, chunkOf(g, q, chunk), k, chunk, scale, stairs)
  const o = g.mulMat(keyRowsOf(g, g.transposed(v), chunk), p) // [D, n, H]
  return g.permute(o, [0, 2, 1, 3])
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
  const [headDim, heads, tokens] = q.ne
  const stairs = stairsOf(g, tokens, chunks)
  const halves = once(() => g.cast(stairs(), TYPE.F16))
  for (const chunk of chunks) {
    const n = chunk.end - chunk.start
    const o = isFused(g.backend, headDim, chunk)
      ? fused(g, q, k, v, chunk, scale, halves)
      : inSteps(g, q, k, v, chunk, scale, stairs) // [D, H, n]
    const into = g.window(out, [out.ne[0], n, 1, 1], [0, chunk.start, 0, 0])
    g.run(g.cpy(o, g.reshape(into, headDim, heads, n)))
  }
  return out
}

/**
 * Gradients of the attention: dOut [D·H, T] → dq [D, H, T], dk and dv [D, T, K], all in `scratch`. dOut may lie where dq
 * comes: a chunk copies its queries of the one before it writes those of the other.
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
  const stairs = stairsOf(g, tokens, chunks)
  g.run(g.fill(scratch.dk, 0))
  g.run(g.fill(scratch.dv, 0))
  for (const chunk of chunks) {
    const n = chunk.end - chunk.start
    const m = keyCount(chunk)
    const qc = chunkOf(g, q, chunk)
    const p = weights(g, qc, k, chunk, scale, stairs) // [m, n, H]
    const dOc = chunkOf(g, dOutHeads, chunk) // [D, n, H]
    const dS = g.softMaxBack(g.mulMat(keysOf(g, v, chunk), dOc), p, scale) // [m, n, H]
    const dQc = g.mulMat(keyRowsOf(g, kRows, chunk), dS) // [D, n, H]
    g.run(g.cpy(g.permute(dQc, [0, 2, 1, 3]), g.window(scratch.dq, [headDim, heads, n, 1], [0, 0, chunk.start, 0])))
    const overQueries = (x: Tensor): Tensor => g.transposed(g.reshape(x, x.ne[0], n * rep, keyHeads)) // [n·R, …, K]
    addToKeys(g, scratch.dv, chunk, g.mulMat(overQueries(dOc), g.reshape(overQueries(p), n * rep, m, keyHeads)))
    addToKeys(g, scratch.dk, chunk, g.mulMat(overQueries(qc), overQueries(dS)))
  }
  return scratch
}
