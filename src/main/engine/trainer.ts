/**
 * Forward and backward of a packed row of tokens, layer by layer. A loss is a function from the per-token arrays of the
 * head to per-token coefficients; it never sees the model. Gradients add up until the optimizer takes them.
 */
import type { Layer, Pass, Saved } from './arch/architecture.ts'
import { NODES_PER_CHUNK } from './blocks/attention.ts'
import { Activations } from './activations.ts'
import type { Keep } from './activations.ts'
import type { PackedBatch } from './batch.ts'
import { Graph, GraphAllocator } from './graph.ts'
import { Head } from './head.ts'
import type { HeadOutput } from './head.ts'
import type { Parameters } from './parameters.ts'
import type { Tensor } from './tensor.ts'

export type TrainerSettings = {
  readonly keep: Keep
  /** Queries per attention chunk. */
  readonly chunkQueries: number
  /** Predicted tokens per head chunk. */
  readonly headRows: number
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
  readonly backward: readonly Graph[]
  readonly reference: readonly Graph[]
  readonly allocators: readonly GraphAllocator[]
}

export class Trainer {
  readonly parameters: Parameters
  readonly settings: TrainerSettings
  readonly #head: Head
  #activations: Activations | null = null
  #graphs: Graphs | null = null

  constructor(parameters: Parameters, settings: TrainerSettings) {
    this.parameters = parameters
    this.settings = settings
    this.#head = new Head(parameters, settings.headRows)
  }

  /** Log-probability and entropy of every predicted token; `reference` leaves the adapter out. */
  score(batch: PackedBatch, options: { reference?: boolean } = {}): HeadOutput {
    const { rows } = this.parameters
    if (options.reference && rows) return rows.trained.asInBase(() => this.#score(batch, true))
    return this.#score(batch, options.reference ?? false)
  }

  #score(batch: PackedBatch, reference: boolean): HeadOutput {
    this.#forward(batch, reference)
    const logprobs = new Float32Array(batch.at.length)
    const entropy = new Float32Array(batch.at.length)
    this.#chunks(batch, (from, to) => {
      const output = this.#head.forward(batch.at, batch.targets, from, to)
      logprobs.set(output.logprobs, from)
      entropy.set(output.entropy, from)
    })
    return { logprobs, entropy }
  }

  /** Forward, loss, backward; adds to the gradients. Returns what the head gave. */
  accumulate(batch: PackedBatch, loss: LossFunction, options: { wholeBatch?: boolean } = {}): HeadOutput {
    const n = batch.at.length
    const first = options.wholeBatch ? this.score(batch) : null
    const whole = first ? loss(first, 0) : null
    if (!first) this.#forward(batch, false)
    const activations = this.#activations!
    const top = activations.gradients[this.parameters.layers.length % 2]!
    this.#zero(top)
    const logprobs = new Float32Array(n)
    const entropy = new Float32Array(n)
    this.#chunks(batch, (from, to) => {
      const output = this.#head.forward(batch.at, batch.targets, from, to)
      logprobs.set(output.logprobs, from)
      entropy.set(output.entropy, from)
      const { logprob: dLogprob, entropy: dEntropy } = whole
        ? { logprob: whole.logprob.subarray(from, to), entropy: whole.entropy.subarray(from, to) }
        : loss(output, from)
      this.#head.backward(dLogprob, dEntropy)
    })
    for (const graph of this.#graphs!.backward) graph.compute()
    const { rows } = this.parameters
    rows?.trained.addEmbeddingGradient(batch.tokens, activations.gradients[0], rows.gradients[0]!)
    return { logprobs, entropy }
  }

  #chunks(batch: PackedBatch, each: (from: number, to: number) => void): void {
    const n = batch.at.length
    for (let from = 0; from < n; from += this.settings.headRows) each(from, Math.min(from + this.settings.headRows, n))
  }

  #zero(tensor: Tensor): void {
    const { backend } = this.parameters.model
    backend.native.ggml.backend_tensor_memset(tensor.ptr, 0, 0, backend.native.ggml.nbytes(tensor.ptr))
  }

  #forward(batch: PackedBatch, reference: boolean): void {
    const { model } = this.parameters
    if (this.#activations?.tokens !== batch.tokens.length) {
      this.release()
      this.#activations = new Activations(
        model.backend,
        model.architecture,
        model.config,
        batch.tokens.length,
        this.settings.keep
      )
    }
    const activations = this.#activations!
    const { chunks, key } = activations.load(batch, this.settings.chunkQueries)
    if (this.#graphs?.key !== key) {
      this.#dropGraphs()
      this.#graphs = this.#build(
        activations,
        { positions: activations.positions, chunks, scratch: activations.scratch },
        key
      )
      this.#head.attach(activations.boundaries.at(-1)!, activations.gradients[model.config.layers % 2]!)
    }
    for (const graph of reference ? this.#graphs.reference : this.#graphs.forward) graph.compute()
  }

  /** Graphs of every layer: forward l takes boundary l to l + 1, backward l takes gradient l + 1 to l. */
  #build(activations: Activations, pass: Pass, key: string): Graphs {
    const { model, layers, referenceLayers } = this.parameters
    const forward = layers.map((layer, i) => this.#forwardGraph(activations, pass, layer, i))
    const reference =
      this.parameters.trained.kind === 'full'
        ? forward
        : referenceLayers.map((layer, i) => this.#forwardGraph(activations, pass, layer, i))
    const backward = layers.map((layer, i) => this.#backwardGraph(activations, pass, layer, i)).reverse()
    const embed = this.#embeddingGraphs(activations)
    const allocators = [new GraphAllocator(model.backend), new GraphAllocator(model.backend)]
    const allForward = [embed.forward, ...forward]
    const allReference = reference === forward ? [] : reference
    const allBackward = embed.backward ? [...backward, embed.backward] : backward
    allocators[0]!.allocate(...allForward, ...allReference)
    allocators[1]!.allocate(...allBackward)
    return {
      key,
      forward: allForward,
      reference: reference === forward ? allForward : [embed.forward, ...reference],
      backward: allBackward,
      allocators
    }
  }

  #embeddingGraphs(activations: Activations): { forward: Graph; backward: Graph | null } {
    const { model, embedding } = this.parameters
    const forward = new Graph(model.backend, 8)
    forward.run(
      forward.place(
        forward.getRows(embedding.weight, activations.tokenIds),
        slot(activations, activations.boundaries[0]!)
      )
    )
    if (!embedding.gradient) return { forward, backward: null }
    const backward = new Graph(model.backend, 8)
    const dx = backward.window(activations.gradients[0], [model.config.width, activations.tokens, 1, 1])
    backward.run(
      backward.addInto(embedding.gradient, backward.getRowsBack(dx, activations.tokenIds, embedding.gradient))
    )
    return { forward, backward }
  }

  #forwardGraph(activations: Activations, pass: Pass, layer: Layer, index: number): Graph {
    const { model } = this.parameters
    const g = new Graph(model.backend, layerCapacity(pass))
    const slots = activations.kept[index]!
    const { y } = model.architecture.forward(
      g,
      model.config,
      layer,
      pass,
      activations.boundaries[index]!,
      slots,
      (name, node) => (activations.keep === 'all' ? g.place(node, slot(activations, slots[name]!)) : node)
    )
    g.run(g.place(y, slot(activations, activations.boundaries[index + 1]!)))
    return g
  }

  #backwardGraph(activations: Activations, pass: Pass, layer: Layer, index: number): Graph {
    const { model } = this.parameters
    const { config, architecture, backend } = model
    const g = new Graph(backend, layerCapacity(pass))
    const slots = activations.kept[index]!
    const x = activations.boundaries[index]!
    const saved: Saved =
      activations.keep === 'all'
        ? { ...slots, x }
        : architecture.forward(g, config, layer, pass, x, slots, (_, node) => node).saved
    const narrow = (t: Tensor): Tensor => g.window(t, [config.width, activations.tokens, 1, 1])
    const dy = narrow(activations.gradients[(index + 1) % 2]!)
    const dx = architecture.backward(g, config, layer, pass, saved, dy)
    g.run(g.cpy(dx, narrow(activations.gradients[index % 2]!)))
    return g
  }

  get bytes(): { activations: number; scratch: number; head: number } {
    return {
      activations: this.#activations?.bytes ?? 0,
      scratch: this.#graphs?.allocators.reduce((sum, it) => sum + it.bytes, 0) ?? 0,
      head: this.#head.bytes
    }
  }

  #dropGraphs(): void {
    if (!this.#graphs) return
    for (const graph of new Set([...this.#graphs.forward, ...this.#graphs.reference, ...this.#graphs.backward]))
      graph.dispose()
    for (const allocator of this.#graphs.allocators) allocator.dispose()
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

const slot = (activations: Activations, tensor: Tensor): { tensor: Tensor; pool: Activations['pool'] } => ({
  tensor,
  pool: activations.pool
})

/** Nodes that a layer's graph has room for. */
export const layerCapacity = (pass: Pass): number => 1024 + NODES_PER_CHUNK * pass.chunks.length
