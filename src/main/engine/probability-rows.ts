/** Logits of a decode as probabilities under a temperature, and what a token's logprob is under temperature 1. */
import type { Pointer } from './ffi/structs.ts'
import { orDispose } from './ffi/owned.ts'
import { Graph, GraphAllocator } from './graph.ts'
import type { Model } from './model.ts'
import { TensorPool, TYPE } from './tensor.ts'
import type { Tensor } from './tensor.ts'

export type ProbabilityRow = {
  readonly temperature: number
  /** softmax(logits / temperature) over the vocabulary, unfiltered. */
  readonly probabilities: Float32Array
  /** The likeliest token and its logprob under temperature 1; null where that is the temperature. */
  readonly likeliestAtOne: Likeliest | null
}

type Likeliest = { readonly token: number; readonly logprob: number }

/**
 * log p(token) under temperature 1, in nats. Differences of logprobs are those of logits over the temperature, so one token
 * of which both are known tells all others. Raising probabilities to a power would not: under a low temperature those of
 * most tokens are too small for F32, and their sum matters at 1.
 */
export function temperatureOneLogprob(row: ProbabilityRow, token: number): number {
  const { temperature, probabilities, likeliestAtOne: known } = row
  const logprob = Math.log(probabilities[token]!)
  if (known === null) return logprob
  return known.logprob + temperature * (logprob - Math.log(probabilities[known.token]!))
}

/**
 * Logits to probabilities for all rows in one pass of the backend, two where the temperature is not 1: they come and go in
 * one native call each, through memory that is made once; the host reads rows, never raises to a power.
 */
export class ProbabilityRows {
  readonly #model: Model
  readonly #width: number
  readonly #pool: TensorPool
  readonly #values: Tensor
  readonly #probabilities: Float32Array
  /** By temperature and number of rows: when few sequences are left, the pass is over as few. */
  readonly #graphs = new Map<string, { readonly graph: Graph; readonly allocator: GraphAllocator }>()
  #temperature = NaN
  #likeliestAtOne: readonly Likeliest[] | null = null

  constructor(model: Model, width: number) {
    const { backend, config } = model
    this.#model = model
    this.#width = width
    this.#pool = new TensorPool(backend, 4)
    this.#values = this.#pool.add(TYPE.F32, config.vocabulary, width)
    this.#pool.allocate()
    this.#probabilities = new Float32Array(config.vocabulary * width)
  }

  /** `rows` rows of logits at an address in host memory. */
  load(logits: Pointer, rows: number, temperature: number): void {
    if (this.#temperature !== temperature) this.#drop()
    this.#temperature = temperature
    this.#likeliestAtOne = null
    if (temperature !== 1) {
      this.#softMax(logits, rows, 1)
      this.#likeliestAtOne = Array.from({ length: rows }, (_, row) => likeliest(this.#row(row)))
    }
    this.#softMax(logits, rows, temperature)
  }

  #softMax(logits: Pointer, rows: number, temperature: number): void {
    const { backend, config } = this.#model
    const { ggml } = backend.native
    const bytes = rows * config.vocabulary * Float32Array.BYTES_PER_ELEMENT
    ggml.backend_tensor_set(this.#values.ptr, logits, 0, bytes)
    this.#graph(rows, temperature).compute()
    ggml.backend_tensor_get(this.#values.ptr, this.#probabilities, 0, bytes)
  }

  /** In place, over the next power of two of rows. A row's result does not depend on the others. */
  #graph(rows: number, temperature: number): Graph {
    const size = Math.min(this.#width, 2 ** Math.ceil(Math.log2(rows)))
    const key = `${temperature} ${size}`
    const known = this.#graphs.get(key)
    if (known) return known.graph
    const { backend, config } = this.#model
    const graph = new Graph(backend, 16)
    const allocator = new GraphAllocator(backend)
    orDispose([graph, allocator], () => {
      const values = graph.window(this.#values, [config.vocabulary, size, 1, 1])
      const tensor = { ...this.#values, ne: values.ne }
      graph.run(graph.place(graph.softMax(values, null, 1 / temperature), tensor))
      allocator.allocate(graph)
    })
    this.#graphs.set(key, { graph, allocator })
    return graph
  }

  #row(row: number): Float32Array {
    const { vocabulary } = this.#model.config
    return this.#probabilities.subarray(row * vocabulary, (row + 1) * vocabulary)
  }

  /** A row of the last load; its probabilities are valid until the next. */
  row(row: number): ProbabilityRow {
    const likeliestAtOne = this.#likeliestAtOne?.[row] ?? null
    return { temperature: this.#temperature, probabilities: this.#row(row), likeliestAtOne }
  }

  #drop(): void {
    for (const { graph, allocator } of this.#graphs.values()) {
      graph.dispose()
      allocator.dispose()
    }
    this.#graphs.clear()
  }

  dispose(): void {
    this.#drop()
    this.#pool.dispose()
  }
}

function likeliest(row: Float32Array): Likeliest {
  let token = 0
  let most = row[0]!
  for (let i = 1; i < row.length; i++) {
    if (row[i]! <= most) continue
    most = row[i]!
    token = i
  }
  return { token, logprob: Math.log(most) }
}
