/**
 * What an architecture file provides: its settings read from the GGUF, the names of its weights, and one layer's forward
 * and backward side by side. Everything around the layers (embedding, head, losses, optimizer) is shared.
 */
import type { AttentionScratch, Chunk } from '../blocks/attention.ts'
import type { Linear } from '../blocks/linear.ts'
import type { Norm } from '../blocks/norm.ts'
import type { GgufInfo } from '../gguf.ts'
import type { Graph, Rope } from '../graph.ts'
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
  readonly rope: Rope
  /** GGUF name of the head's matrix; the embedding's when they are tied. */
  readonly head: string
}

/** A layer's weights, found by the role they play. */
export type Layer = {
  readonly norms: Readonly<Record<string, Norm>>
  readonly linears: Readonly<Record<string, Linear>>
  readonly ropeFactors: Tensor | null
}

/** What a pass over T packed tokens needs beside the weights. */
export type Pass = {
  readonly positions: Tensor // I32 [T]
  readonly chunks: readonly Chunk[]
  readonly scratch: AttentionScratch
}

/** What a layer's forward leaves for its backward. `kept` names the part worth storing; the rest is cheap to compute again. */
export type Saved = Readonly<Record<string, Tensor>>

export type Architecture = {
  readonly name: string
  /** Throws AppError('model') naming what is not supported. */
  config(info: GgufInfo): ModelConfig
  /** Role → name inside a layer (`blk.N.` before it), for norms and linears; linears that LoRA may target by PEFT name. */
  readonly norms: Readonly<Record<string, string>>
  readonly linears: Readonly<Record<string, string>>
  readonly targets: Readonly<Record<TargetModule, string>>
  /** Sizes of the kept tensors for T tokens, by name. */
  kept(config: ModelConfig, tokens: number): Readonly<Record<string, readonly number[]>>
  forward(
    g: Graph,
    config: ModelConfig,
    layer: Layer,
    pass: Pass,
    x: Tensor,
    slots: Readonly<Record<string, Tensor>>,
    place: Place
  ): { y: Tensor; saved: Saved }
  backward(g: Graph, config: ModelConfig, layer: Layer, pass: Pass, saved: Saved, dy: Tensor): Tensor
}

/** Has a node computed into the slot of that name, when activations are kept; otherwise returns it as it is. */
export type Place = (name: string, node: Tensor) => Tensor
