/**
 * One layer, forward and backward: what comes before the attention, the attention over the whole row, what comes behind it.
 * Only in the attention does a token need another, so everything else is computed part by part of the row (`Pass.parts`),
 * and its scratch grows with the part. What is of the whole row lies in slots, or in memory that is the backward's own
 * result: dL/do where dq comes afterwards, dL/dx₁ where dL/dx comes.
 */
import type { Architecture, ModelConfig } from '../arch/architecture.ts'
import type { Keep } from '../activations.ts'
import type { Tensor } from '../tensor.ts'
import { attention, attentionBack, NODES_PER_CHUNK } from './attention.ts'
import type { AttentionScratch, Chunk } from './attention.ts'
import type { Tape } from './tape.ts'

/** At most this many graph nodes come of one part, forward and backward together. */
const NODES_PER_PART = 1024

/** Nodes that a layer's graph has room for. */
export const layerCapacity = (parts: number, chunks: number): number =>
  NODES_PER_PART * parts + NODES_PER_CHUNK * chunks

/**
 * Sizes of a layer's slots for T tokens, by name. What was attended to has one always. With `none`, a layer's backward
 * computes the rest again: in one piece as nodes of its graph, in parts, whose nodes do not live as long, what the attention
 * reads goes into slots too.
 */
export function slotSizes(
  { heads, kept }: Pick<Architecture, 'heads' | 'kept'>,
  c: ModelConfig,
  tokens: number,
  { keep, chunkTokens = tokens }: { readonly keep: Keep; readonly chunkTokens?: number | undefined }
): Readonly<Record<string, readonly number[]>> {
  return {
    ...(keep === 'all' || chunkTokens < tokens ? heads.kept(c, tokens) : {}),
    o: [c.headDim * c.heads, tokens],
    ...(keep === 'all' ? kept(c, tokens) : {})
  }
}

function chunksOf({ layer, pass }: Tape): readonly Chunk[] {
  const chunks = pass.chunks[layer.window]
  if (!chunks) throw new Error(`the pass has no masks for a window of ${layer.window} tokens`)
  return chunks
}

/** Attends from x [d, T] into the slot `o` [D·H, T]. */
function attend(t: Tape, { heads }: Architecture, x: Tensor): void {
  for (const part of t.parts) heads.forward(part, part.norm('attention', part.columns(x)))
  const { q, k, v } = heads.recall(t)
  attention(t.g, q, k, v, chunksOf(t), t.config.attentionScale, t.slots['o']!)
}

/** The residual stream after the layer, from that before it, x [d, T], into `into`, which lies elsewhere. */
export function layerForward(t: Tape, architecture: Architecture, x: Tensor, into: Tensor): void {
  attend(t, architecture, x)
  for (const part of t.parts) part.put(architecture.forward(part, part.columns(x), part.columns(t.slots['o']!)), into)
}

/**
 * dL/dx into `into` [d, at least T] from dL/dy in dy [d, at least T], adding the gradients of what is trained; `again`
 * where the forward did not leave everything in its slots.
 */
export function layerBackward(
  t: Tape,
  architecture: Architecture,
  x: Tensor,
  dy: Tensor,
  into: Tensor,
  again: boolean
): void {
  const { g, slots, pass } = t
  const { scratch } = pass
  if (again) attend(t, architecture, x)
  // a chunk of the attention's backward reads its dL/do before it writes its dq over it
  const dO = g.reshape(scratch.dq, slots['o']!.ne[0], t.tokens)
  for (const part of t.parts) {
    const [own, o] = [part.columns(x), part.columns(slots['o']!)]
    if (again) architecture.forward(part, own, o)
    const d = architecture.backward(part, own, o, part.columns(dy))
    part.put(d.dx, into)
    part.put(d.dO, dO, scratch.dq)
  }
  const { q, k, v } = architecture.heads.recall(t)
  const d = attentionBack(g, q, k, v, dO, chunksOf(t), t.config.attentionScale, scratch)
  for (const part of t.parts) backThroughHeads(part, architecture, part.columns(x), d, part.columns(into))
}

/** Adds to dx [d, T] what reaches x by way of the attention. */
function backThroughHeads(t: Tape, { heads }: Architecture, x: Tensor, d: AttentionScratch, dx: Tensor): void {
  const dh = heads.backward(t, t.norm('attention', x), d)
  t.g.run(t.g.addInto(dx, t.normBack('attention', x, dh)))
}
