/**
 * One layer at work: its weights by role, the graph its nodes go into, and what its forward leaves for its backward.
 * A forward keeps what is dear to compute again and notes what is cheap; a backward finds the kept values in memory, or
 * the nodes of a forward that was built into the same graph.
 */
import type { Layer, ModelConfig, Pass } from '../arch/architecture.ts'
import type { Graph } from '../graph.ts'
import type { Tensor } from '../tensor.ts'
import { linear, linearBack } from './linear.ts'
import { norm, normBack } from './norm.ts'

/** Has a node computed into the slot of that name, when activations are kept; otherwise returns it as it is. */
export type Place = (name: string, node: Tensor) => Tensor
export type Values = Readonly<Record<string, Tensor>>

const asItIs: Place = (_, node) => node

export class Tape {
  readonly g: Graph
  readonly config: ModelConfig
  readonly layer: Layer
  readonly pass: Pass
  readonly slots: Values
  readonly #place: Place
  readonly #saved: Record<string, Tensor>

  /** `saved` is what an earlier forward kept; without it the forward must be built on this tape first. */
  constructor(
    g: Graph,
    layer: { readonly config: ModelConfig; readonly layer: Layer; readonly pass: Pass; readonly slots: Values },
    memory: { readonly place?: Place; readonly saved?: Values } = {}
  ) {
    this.g = g
    this.config = layer.config
    this.layer = layer.layer
    this.pass = layer.pass
    this.slots = layer.slots
    this.#place = memory.place ?? asItIs
    this.#saved = { ...memory.saved }
  }

  get saved(): Values {
    return this.#saved
  }

  /** Saves a node that the backward would be slow to compute again, in its slot when activations are kept. */
  keep(name: string, node: Tensor): Tensor {
    return (this.#saved[name] = this.#place(name, node))
  }

  /** Saves a node that is cheap to compute again. */
  note(name: string, node: Tensor): Tensor {
    return (this.#saved[name] = node)
  }

  kept(name: string): Tensor {
    const found = this.#saved[name]
    if (!found) throw new Error(`the forward kept no ${name}`)
    return found
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
