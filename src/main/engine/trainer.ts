/**
 * Forward and backward of a packed row of tokens, layer by layer. A loss is a function from the per-token arrays of the
 * head to per-token coefficients; it never sees the model. Gradients add up until the optimizer takes them.
 */
import type { Layer, Pass } from './arch/architecture.ts'
import { layerBackward, layerCapacity, layerForward } from './blocks/layer.ts'
import { partsOf, Tape } from './blocks/tape.ts'
import type { Place, Values } from './blocks/tape.ts'
import { Activations } from './activations.ts'
import type { ActivationSettings } from './activations.ts'
import type { PackedBatch } from './batch.ts'
import { decodingContext } from './decoder.ts'
import { orDispose } from './ffi/owned.ts'
import { Graph, GraphAllocator } from './graph.ts'
import { Head } from './head.ts'
import type { HeadOutput } from './head.ts'
import type { Parameters } from './parameters.ts'
import type { Tensor } from './tensor.ts'

export type TrainerSettings = ActivationSettings & {
  /** Queries per attention chunk. */
  readonly chunkQueries: number
  /** Predicted tokens per head chunk. */
  readonly headRows: number
  /** The context one sequence has in llama.cpp where the policy is sampled; a base may rotate long ones differently. */
  readonly contextTokens?: number
}

/** dLoss/dlogprob and dLoss/dentropy of each predicted token, in the batch's order. */
export type Coefficients = { readonly logprob: Float32Array; readonly entropy: Float32Array }

/**
 * `from` is the index of the first token of `output` in the batch: a loss that needs nothing but its own token is called
 * chunk by chunk; one that needs whole sequences (`wholeBatch`) once, at the cost of computing the logits twice.
 */
export type LossFunction = (output: HeadOutput, from: number) => Coefficients

type Graphs = {
  readonly key: string
  readonly forward: readonly Graph[]
  /** From the last layer's to the first's, then the embedding's: what is computed for each, in order. */
  readonly backward: readonly (readonly Graph[])[]
  readonly reference: readonly Graph[]
  /** One for all: of no graph's scratch does another read anything, what stays lies in the activations. */
  readonly allocator: GraphAllocator
}

export class Trainer {
  readonly parameters: Parameters
  readonly settings: TrainerSettings
  readonly #head: Head
  #activations: Activations | null = null
  #graphs: Graphs | null = null

  /** Under `temperature` every number is of softmax(logits / temperature), the distribution that rollouts are drawn from. */
  constructor(parameters: Parameters, settings: TrainerSettings, policy: { readonly temperature?: number } = {}) {
    this.parameters = parameters
    this.settings = settings
    this.#head = new Head(parameters, settings.headRows, policy.temperature)
  }

  /** Log-probability, entropy and hit of every predicted token; `reference` leaves the adapter out. */
  score(batch: PackedBatch, options: { reference?: boolean } = {}): HeadOutput {
    const { rows } = this.parameters
    if (options.reference && rows) return rows.trained.asInBase(() => this.#score(batch, true))
    return this.#score(batch, options.reference ?? false)
  }

  #score(batch: PackedBatch, reference: boolean): HeadOutput {
    this.#forward(batch, reference, false)
    return this.#heads(batch)
  }

  #heads(batch: PackedBatch): HeadOutput {
    const logprobs = new Float32Array(batch.at.length)
    const entropy = new Float32Array(batch.at.length)
    const top = new Uint8Array(batch.at.length)
    this.#chunks(batch, (from, to) => {
      const output = this.#head.forward(batch.at, batch.targets, from, to)
      logprobs.set(output.logprobs, from)
      entropy.set(output.entropy, from)
      top.set(output.top, from)
    })
    return { logprobs, entropy, top }
  }

  /** Forward, loss, backward; adds to the gradients. Returns what the head gave. */
  accumulate(batch: PackedBatch, loss: LossFunction, options: { wholeBatch?: boolean } = {}): HeadOutput {
    const n = batch.at.length
    this.#forward(batch, false, true)
    const first = options.wholeBatch ? this.#heads(batch) : null
    const whole = first ? loss(first, 0) : null
    const activations = this.#activations!
    this.#zero(activations.gradients[this.parameters.layers.length % 2]!)
    const logprobs = new Float32Array(n)
    const entropy = new Float32Array(n)
    const top = new Uint8Array(n)
    this.#chunks(batch, (from, to) => {
      const output = this.#head.forward(batch.at, batch.targets, from, to)
      logprobs.set(output.logprobs, from)
      entropy.set(output.entropy, from)
      top.set(output.top, from)
      const { logprob: dLogprob, entropy: dEntropy } = whole
        ? { logprob: whole.logprob.subarray(from, to), entropy: whole.entropy.subarray(from, to) }
        : loss(output, from)
      this.#head.backward(dLogprob, dEntropy)
    })
    let layer = this.parameters.layers.length
    for (const graphs of this.#graphs!.backward) {
      activations.bringBack(--layer)
      for (const graph of graphs) graph.compute()
    }
    const { rows } = this.parameters
    rows?.trained.addEmbeddingGradient(batch.tokens, activations.gradients[0], rows.gradients[0]!)
    return { logprobs, entropy, top }
  }

  #chunks(batch: PackedBatch, each: (from: number, to: number) => void): void {
    const n = batch.at.length
    for (let from = 0; from < n; from += this.settings.headRows) each(from, Math.min(from + this.settings.headRows, n))
  }

  #zero(tensor: Tensor): void {
    const { backend } = this.parameters.model
    backend.native.ggml.backend_tensor_memset(tensor.ptr, 0, 0, backend.native.ggml.nbytes(tensor.ptr))
  }

  /** `returns`: a backward follows, which wants the boundaries again. */
  #forward(batch: PackedBatch, reference: boolean, returns: boolean): void {
    const { model } = this.parameters
    if (this.#activations?.tokens !== batch.tokens.length) {
      this.release()
      this.#activations = new Activations(
        model.backend,
        model.architecture,
        model.config,
        batch.tokens.length,
        this.settings
      )
    }
    const activations = this.#activations!
    const { chunks, key } = activations.load(batch, this.settings.chunkQueries)
    if (this.#graphs?.key !== key) {
      this.#dropGraphs()
      this.#build(
        activations,
        {
          positions: activations.positions,
          parts: partsOf(activations.tokens, this.settings.chunkTokens),
          chunks,
          scratch: activations.scratch,
          contextTokens: decodingContext(this.settings.contextTokens ?? 0)
        },
        key
      )
      const [hidden, into] = [activations.boundaries.at(-1)!, activations.gradients[model.config.layers % 2]!]
      orDispose([{ dispose: () => this.#dropGraphs() }], () => this.#head.attach(hidden, into))
    }
    const graphs = reference ? this.#graphs!.reference : this.#graphs!.forward
    for (const [layer, graph] of graphs.entries()) {
      graph.compute() // the boundary before this layer, or after the last
      if (returns) activations.setAside(layer)
    }
  }

  /** Graphs of every layer: forward l takes boundary l to l + 1, backward l takes gradient l + 1 to l. */
  #build(activations: Activations, pass: Pass, key: string): void {
    const { model, layers, referenceLayers } = this.parameters
    const forward = layers.map((layer, i) => this.#forwardGraph(activations, pass, layer, i))
    const reference =
      this.parameters.trained.kind === 'full'
        ? forward
        : referenceLayers.map((layer, i) => this.#forwardGraph(activations, pass, layer, i))
    const backward = layers
      .map((layer, i) => {
        const transposing = this.parameters.transposingGraph(i)
        return [...(transposing ? [transposing] : []), this.#backwardGraph(activations, pass, layer, i)]
      })
      .reverse()
    const embed = this.#embeddingGraphs(activations)
    const allocator = new GraphAllocator(model.backend)
    const allForward = [embed.forward, ...forward]
    const allReference = reference === forward ? [] : reference
    const allBackward = embed.backward ? [...backward, [embed.backward]] : backward
    this.#graphs = {
      key,
      forward: allForward,
      reference: reference === forward ? allForward : [embed.forward, ...reference],
      backward: allBackward,
      allocator
    }
    try {
      allocator.allocate(...allForward, ...allReference, ...allBackward.flat())
    } catch (error) {
      this.#dropGraphs() // they have no memory: the next pass must not compute them
      throw error
    }
  }

  #embeddingGraphs(activations: Activations): { forward: Graph; backward: Graph | null } {
    const { model, embedding } = this.parameters
    const { embeddingScale, width } = model.config
    const scaled = (g: Graph, x: Tensor): Tensor => (embeddingScale === 1 ? x : g.scale(x, embeddingScale))
    const forward = new Graph(model.backend, 8)
    forward.run(
      forward.place(
        scaled(forward, forward.getRows(embedding.weight, activations.tokenIds)),
        activations.boundaries[0]!
      )
    )
    if (!embedding.gradient) return { forward, backward: null }
    const backward = new Graph(model.backend, 8)
    const dx = scaled(backward, backward.window(activations.gradients[0], [width, activations.tokens, 1, 1]))
    backward.run(
      backward.addInto(embedding.gradient, backward.getRowsBack(dx, activations.tokenIds, embedding.gradient))
    )
    return { forward, backward }
  }

  #forwardGraph(activations: Activations, pass: Pass, layer: Layer, index: number): Graph {
    const [g, tape] = this.#layerGraph(activations, pass, layer, index)
    layerForward(
      tape,
      this.parameters.model.architecture,
      activations.boundaries[index]!,
      activations.boundaries[index + 1]!
    )
    return g
  }

  #backwardGraph(activations: Activations, pass: Pass, layer: Layer, index: number): Graph {
    const kept = activations.keep === 'all'
    const [g, tape] = this.#layerGraph(activations, pass, layer, index, kept ? { saved: activations.kept[index]! } : {})
    const [dy, dx] = [activations.gradients[(index + 1) % 2]!, activations.gradients[index % 2]!]
    layerBackward(tape, this.parameters.model.architecture, activations.boundaries[index]!, dy, dx, !kept)
    return g
  }

  #layerGraph(
    activations: Activations,
    pass: Pass,
    layer: Layer,
    index: number,
    memory: { readonly saved?: Values } = {}
  ): [Graph, Tape] {
    const { backend, config } = this.parameters.model
    const g = new Graph(backend, layerCapacity(pass.parts.length, pass.chunks[layer.window]!.length))
    const place: Place = (node, slot, at) => g.place(node, slot, at)
    return [g, new Tape(g, { config, layer, pass, slots: activations.kept[index]! }, { place, ...memory })]
  }

  get bytes(): { activations: number; host: number; scratch: number; head: number } {
    return {
      activations: this.#activations?.bytes ?? 0,
      host: this.#activations?.hostBytes ?? 0,
      scratch: this.#graphs?.allocator.bytes ?? 0,
      head: this.#head.bytes
    }
  }

  #dropGraphs(): void {
    if (!this.#graphs) return
    for (const graph of new Set([...this.#graphs.forward, ...this.#graphs.reference, ...this.#graphs.backward.flat()]))
      graph.dispose()
    this.#graphs.allocator.dispose()
    this.#graphs = null
  }

  /** Gives the memory of activations and graphs back; the next pass takes it again. */
  release(): void {
    this.#dropGraphs()
    this.#head.detach()
    this.#activations?.dispose()
    this.#activations = null
  }

  dispose(): void {
    this.release()
    this.#head.dispose()
  }
}
