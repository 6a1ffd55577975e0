/** Self-attention of a layer, from its normed input to the output projection `o`. */
import type { ModelConfig } from '../arch/architecture.ts'
import type { Tensor } from '../tensor.ts'
import { attention, attentionBack } from './attention.ts'
import type { Chunk } from './attention.ts'
import type { Heads } from './heads.ts'
import type { Tape } from './tape.ts'

function chunksOf({ layer, pass }: Tape): readonly Chunk[] {
  const chunks = pass.chunks[layer.window]
  if (!chunks) throw new Error(`the pass has no masks for a window of ${layer.window} tokens`)
  return chunks
}

/** h [d, T] → [d, T] */
export function selfAttention(t: Tape, heads: Heads, h: Tensor): Tensor {
  const { q, k, v } = heads.forward(t, t.note('h', h))
  return t.linear('o', t.note('o', attention(t.g, q, k, v, chunksOf(t), t.config.attentionScale, t.slots['o']!)))
}

/** dL/dh from dL/doutput; `again` makes h once more where it was not saved. */
export function selfAttentionBack(t: Tape, heads: Heads, again: () => Tensor, dy: Tensor): Tensor {
  const dO = t.linearBack('o', t.kept('o'), dy)
  const { q, k, v } = heads.recall(t)
  const d = attentionBack(t.g, q, k, v, dO, chunksOf(t), t.config.attentionScale, t.pass.scratch)
  return heads.backward(t, t.noted('h', again), d.dq, d.dk, d.dv)
}

export const attentionKept = (
  heads: Heads,
  c: ModelConfig,
  tokens: number
): Readonly<Record<string, readonly number[]>> => ({ ...heads.kept(c, tokens), o: [c.headDim * c.heads, tokens] })
