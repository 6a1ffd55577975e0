/**
 * What an architecture file provides: its settings read from the GGUF, the names of its weights, and one layer's forward
 * and backward side by side. Everything around the layers (embedding, head, losses, optimizer) is shared.
 */
import type { Span } from '../attention-chunks.ts'
import type { AttentionScratch, Chunk } from '../blocks/attention.ts'
import type { Heads } from '../blocks/heads.ts'
import type { Linear } from '../blocks/linear.ts'
import type { Norm } from '../blocks/norm.ts'
import type { Tape } from '../blocks/tape.ts'
import type { GgufInfo } from '../gguf.ts'
import type { Rope } from '../rope.ts'
import type { Tensor } from '../tensor.ts'
import type { TargetModule } from '../../../shared/recipe.ts'

export type ModelConfig = {
  readonly architecture: string
  readonly layers: number
  /** Residual stream d, feed-forward width, heads, key heads, size of one head. */
  readonly width: number
  readonly feedForward: number
  readonly heads: number
  readonly keyHeads: number
  readonly headDim: number
  readonly vocabulary: number
  readonly contextLength: number
  readonly normEps: number
  readonly attentionScale: number
  /** What the rows of the embedding are multiplied with. */
  readonly embeddingScale: number
  /** Of the layers that see everything before a token. */
  readonly rope: Rope
  /** GGUF names of the tensors that divide the rotation's frequencies; null where there are none. */
  readonly ropeFactors: { readonly short: string | null; readonly long: string | null }
  /** The long factors serve contexts longer than this many tokens. */
  readonly shortContext: number
  /** The layers that see only the last `window` tokens, the token itself included; null where all see everything. */
  readonly local: { readonly window: number; readonly rope: Rope; readonly layers: readonly boolean[] } | null
  /** GGUF name of the head's matrix; the embedding's when they are tied. */
  readonly head: string
}

/** A layer's weights, found by the role they play. */
export type Layer = {
  readonly norms: Readonly<Record<string, Norm>>
  readonly linears: Readonly<Record<string, Linear>>
  readonly rope: Rope
  readonly ropeFactors: { readonly short: Tensor | null; readonly long: Tensor | null }
  /** Tokens that a token sees, itself included; 0: all before it. */
  readonly window: number
}

/** What a pass over T packed tokens needs beside the weights. */
export type Pass = {
  readonly positions: Tensor // I32 [T]
  /** The tokens that everything but the attention is computed for at once, in order. */
  readonly parts: readonly Span[]
  /** By the window of the layers that use them. */
  readonly chunks: Readonly<Record<number, readonly Chunk[]>>
  readonly scratch: AttentionScratch
  /** The context that one sequence has where the policy is sampled: it chooses between short and long rope factors. */
  readonly contextTokens: number
}

export type Architecture = {
  readonly name: string
  /** Throws AppError('model') naming what is not supported. Reads metadata only. */
  config(info: GgufInfo): ModelConfig
  /** Role → name inside a layer (`blk.N.` before it), for norms and linears; linears that LoRA may target by PEFT name. */
  readonly norms: Readonly<Record<string, string>>
  readonly linears: Readonly<Record<string, string>>
  /** The linears that may have a bias, by role. */
  readonly biases: readonly string[]
  readonly targets: Readonly<Partial<Record<TargetModule, string>>>
  /** What comes before the attention: its input h is x behind the norm `attention`. */
  readonly heads: Heads
  /** Sizes of the tensors that `forward` keeps for T tokens, by name. */
  kept(config: ModelConfig, tokens: number): Readonly<Record<string, readonly number[]>>
  /**
   * What comes behind the attention, for the tokens of the tape: the residual stream before the layer x [d, T] and what was
   * attended to o [D·H, T] → the residual stream after it [d, T].
   */
  forward(t: Tape, x: Tensor, o: Tensor): Tensor
  /** From dL/dy what reaches x directly and what reaches o, adding the gradients of what is trained. */
  backward(t: Tape, x: Tensor, o: Tensor, dy: Tensor): { readonly dx: Tensor; readonly dO: Tensor }
}

/** What a layer's attention differs by from that of its neighbours. */
export const attentionOf = (c: ModelConfig, layer: number): { readonly window: number; readonly rope: Rope } =>
  c.local?.layers[layer] ? { window: c.local.window, rope: c.local.rope } : { window: 0, rope: c.rope }

/** The windows that layers of this model have, each once. */
export const windowsOf = (c: ModelConfig): readonly number[] => [
  ...new Set(Array.from({ length: c.layers }, (_, layer) => attentionOf(c, layer).window))
]

/** GGUF name of the bias beside a weight. */
export const biasName = (weight: string): string => weight.replace(/\.weight$/, '.bias')

/** Tensors that steer the computation and are never trained. */
export const isRopeFactors = (name: string): boolean => /^rope_(freqs|factors_long|factors_short)\.weight$/.test(name)
