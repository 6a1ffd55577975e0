/**
 * One layer at work: its weights by role, the graph its nodes go into, and what its forward leaves for its backward.
 * A forward keeps what is dear to compute again and notes what is cheap; a backward finds the kept values in memory, or
 * the nodes of a forward that was built into the same graph. All but the attention is computed part by part of the row's
 * tokens, each on a tape of its own: what a part notes lives no longer than the part.
 */
import type { Layer, ModelConfig, Pass } from '../arch/architecture.ts'
import type { Span } from '../attention-chunks.ts'
import type { Graph } from '../graph.ts'
import type { Tensor } from '../tensor.ts'
import { linear, linearBack } from './linear.ts'
import { norm, normBack } from './norm.ts'

/** Has a node computed into `at`, memory that is `slot` or a window of it without gaps. */
export type Place = (node: Tensor, slot: Tensor, at: Tensor) => Tensor
export type Values = Readonly<Record<string, Tensor>>

/** The spans of at most that many tokens that a row is computed in. */
export const partsOf = (tokens: number, chunkTokens = tokens): readonly Span[] =>
  Array.from({ length: Math.ceil(tokens / chunkTokens) }, (_, i) => ({
    start: i * chunkTokens,
    end: Math.min((i + 1) * chunkTokens, tokens)
  }))

export class Tape {
  readonly g: Graph
  readonly config: ModelConfig
  readonly layer: Layer
  /** Of a part, its own positions only. */
  readonly pass: Pass
  readonly slots: Values
  readonly #place: Place
  readonly #saved: Record<string, Tensor>
  /** Of a part: the whole row's tape, and where the part lies in it. */
  readonly #row: { readonly tape: Tape; readonly span: Span } | null
  #parts: readonly Tape[] | null = null

  /** `saved` is what an earlier forward kept; without it the forward must be built on this tape first. */
  constructor(
    g: Graph,
    layer: { readonly config: ModelConfig; readonly layer: Layer; readonly pass: Pass; readonly slots: Values },
    memory: { readonly place: Place; readonly saved?: Values },
    row: { readonly tape: Tape; readonly span: Span } | null = null
  ) {
    this.g = g
    this.config = layer.config
    this.layer = layer.layer
    this.pass = layer.pass
    this.slots = layer.slots
    this.#place = memory.place
    this.#saved = { ...memory.saved }
    this.#row = row
  }

  /** The row's tokens in order, each part on its tape; this tape itself where the row is computed in one piece. */
  get parts(): readonly Tape[] {
    const { config, layer, pass, slots } = this
    const { parts, positions } = pass
    if (parts.length === 1) return [this]
    return (this.#parts ??= parts.map((span) => {
      const own = this.g.window(positions, [span.end - span.start, 1, 1, 1], [span.start, 0, 0, 0])
      const about = { config, layer, slots, pass: { ...pass, positions: own, parts: [span] } }
      return new Tape(this.g, about, { place: this.#place }, { tape: this, span })
    }))
  }

  /** Tokens of this tape. */
  get tokens(): number {
    return this.pass.positions.ne[0]
  }

  get #start(): number {
    return this.#row?.span.start ?? 0
  }

  /** This tape's columns of x [n, T]. */
  columns(x: Tensor): Tensor {
    return this.g.window(x, [x.ne[0], this.tokens, 1, 1], [0, this.#start, 0, 0])
  }

  /** This tape's tokens of x [D, heads, T]. */
  heads(x: Tensor): Tensor {
    return this.g.window(x, [x.ne[0], x.ne[1], this.tokens, 1], [0, 0, this.#start, 0])
  }

  /** This tape's tokens of x [D, T, heads]. */
  byHead(x: Tensor): Tensor {
    return this.g.window(x, [x.ne[0], this.tokens, x.ne[2], 1], [0, this.#start, 0, 0])
  }

  /** Computes a node, not a view, into this tape's columns of `row` [n, T]; `slot` is the memory that `row` is a view of. */
  put(node: Tensor, row: Tensor, slot = row): Tensor {
    const placed = this.#place(node, slot, this.columns(row))
    this.g.run(placed)
    return placed
  }

  /** Saves a node [n, T] that the backward would be slow to compute again, in its slot where there is one. */
  keep(name: string, node: Tensor): Tensor {
    return this.#keep(name, node, (slot) => this.columns(slot))
  }

  /** Keeps x [D, heads, T]. */
  keepHeads(name: string, x: Tensor): Tensor {
    return this.#keep(name, x, (slot) => this.heads(slot))
  }

  /** Keeps x [D, heads, T] as [D, T, heads]. */
  keepByHead(name: string, x: Tensor): void {
    const [slot, turned] = [this.slots[name], this.g.permute(x, [0, 2, 1, 3])]
    // a part of it has gaps between its heads, so that nothing can be computed into it directly
    if (slot && this.#row) this.#written(name, slot, this.g.cpy(turned, this.byHead(slot)))
    else this.#keep(name, this.g.copy(turned), () => slot!)
  }

  #keep(name: string, node: Tensor, window: (slot: Tensor) => Tensor): Tensor {
    const slot = this.slots[name]
    if (slot) this.#written(name, slot, this.#place(node, slot, window(slot)))
    return this.note(name, node)
  }

  /** What a part wrote into the row's slot, the row has kept. */
  #written(name: string, slot: Tensor, node: Tensor): void {
    if (!this.#row) return
    this.g.run(node)
    this.#row.tape.note(name, slot)
  }

  /** Saves a node that is cheap to compute again. */
  note(name: string, node: Tensor): Tensor {
    return (this.#saved[name] = node)
  }

  /** What this tape's tokens kept under that name; of a part [n, T] only. */
  kept(name: string): Tensor {
    const found = this.#saved[name]
    if (found) return found
    if (!this.#row) throw new Error(`the forward kept no ${name}`)
    return (this.#saved[name] = this.columns(this.#row.tape.kept(name)))
  }

  /** A noted node, or the same made again. */
  noted(name: string, again: () => Tensor): Tensor {
    return (this.#saved[name] ??= again())
  }

  norm(role: string, x: Tensor): Tensor {
    return norm(this.g, this.layer.norms[role]!, x)
  }

  normBack(role: string, x: Tensor, dy: Tensor): Tensor {
    return normBack(this.g, this.layer.norms[role]!, x, dy)
  }

  linear(role: string, h: Tensor): Tensor {
    const { y, u } = linear(this.g, this.layer.linears[role]!, h)
    if (u) this.#saved[`u ${role}`] = u
    return y
  }

  linearBack(role: string, h: Tensor, dy: Tensor): Tensor {
    return linearBack(this.g, this.layer.linears[role]!, h, this.#saved[`u ${role}`] ?? null, dy)
  }
}
