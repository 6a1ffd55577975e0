/**
 * The head in chunks of predicted tokens, so that never more than `rows` × vocabulary logits exist.
 * Forward: log-probability of each target and the entropy of its distribution. Backward: from dL/dlogprob = a and
 * dL/dentropy = b per token to the gradient of the hidden state:
 *   dL/dz = a·(onehot − p) − b·p∘(log p + H),   log p = z − log Z.
 * The onehot part needs no logits: it is a row of the head's matrix.
 * Under a temperature τ all of this is of softmax(logits / τ), as TRL trains: the hidden state is divided by τ instead.
 */
import type { Backend } from './backend.ts'
import { norm, normBack } from './blocks/norm.ts'
import { orDispose } from './ffi/owned.ts'
import { Graph, GraphAllocator } from './graph.ts'
import type { Parameters } from './parameters.ts'
import { rowsBack } from './trained-rows.ts'
import { readF32, readI32, TensorPool, TYPE, write } from './tensor.ts'
import type { Tensor } from './tensor.ts'

/** F16 loses probabilities under 6e-8; lifted by this they survive the conversion inside the matrix product. */
const PROBABILITY_LIFT = 4096

/** Graph nodes that one trained row adds to the head's backward, at most. */
const NODES_PER_ROW = 24

export type HeadOutput = {
  readonly logprobs: Float32Array
  readonly entropy: Float32Array
  /** 1 where the target is the likeliest token (the first of equals). */
  readonly top: Uint8Array
}

export class Head {
  readonly rows: number
  readonly #temperature: number
  readonly #backend: Backend
  readonly #parameters: Parameters
  readonly #pool: TensorPool
  readonly #allocator: GraphAllocator
  readonly #in: { rows: Tensor; bins: Tensor; targets: Tensor; flat: Tensor; a: Tensor; minusB: Tensor; c: Tensor }
  /** For each trained row, dL/dlogprob where the token is the target [1, n, k]. */
  readonly #hot: Tensor | null
  /** The targets of the present chunk. */
  #targets: Int32Array = new Int32Array()
  readonly #out: { logprob: Tensor; entropy: Tensor; logZ: Tensor; top: Tensor }
  readonly #slots: { h: Tensor; z: Tensor; p: Tensor }
  #graphs: { hidden: Tensor; into: Tensor; forward: Graph; backward: Graph; backwardEntropy: Graph } | null = null
  #offsets: Int32Array

  /** `rows`: predicted tokens of a chunk. */
  constructor(parameters: Parameters, rows: number, temperature = 1) {
    const { backend, config } = parameters.model
    this.rows = rows
    this.#temperature = temperature
    this.#backend = backend
    this.#parameters = parameters
    const pool = new TensorPool(backend, 32)
    const f32 = (...ne: readonly number[]): Tensor => pool.add(TYPE.F32, ...ne)
    const i32 = (n: number): Tensor => pool.add(TYPE.I32, n)
    this.#in = {
      rows: i32(rows),
      bins: i32(rows),
      targets: i32(rows),
      flat: i32(rows),
      a: f32(1, rows),
      minusB: f32(1, rows),
      c: f32(1, rows)
    }
    this.#out = { logprob: f32(1, rows), entropy: f32(1, rows), logZ: f32(1, rows), top: i32(rows) }
    this.#slots = { h: f32(config.width, rows), z: f32(config.vocabulary, rows), p: f32(config.vocabulary, rows) }
    const trainedRows = parameters.rows?.trained.ids.length ?? 0
    this.#hot = trainedRows > 0 ? f32(1, rows, trainedRows) : null
    this.#pool = pool.allocate()
    this.#allocator = new GraphAllocator(backend)
    this.#offsets = Int32Array.from({ length: rows }, (_, i) => i * config.vocabulary)
  }

  /** Points the graphs at a pass's last boundary [d, T] and at the gradient it wants [d, T + 1]. */
  attach(hidden: Tensor, into: Tensor): void {
    if (this.#graphs?.hidden.ptr === hidden.ptr && this.#graphs.into.ptr === into.ptr) return
    this.detach()
    const graphs = {
      hidden,
      into,
      forward: this.#forwardGraph(hidden),
      backward: this.#backwardGraph(hidden, into, false),
      backwardEntropy: this.#backwardGraph(hidden, into, true)
    }
    const all = [graphs.forward, graphs.backward, graphs.backwardEntropy]
    orDispose(all, () => this.#allocator.allocate(...all))
    this.#graphs = graphs
  }

  #forwardGraph(hidden: Tensor): Graph {
    const { vocabulary } = this.#parameters.model.config
    const g = new Graph(this.#backend, 64)
    const place = (node: Tensor, tensor: Tensor): Tensor => g.place(node, tensor)
    const h = place(
      this.#tempered(g, norm(g, this.#parameters.outputNorm, g.getRows(hidden, this.#in.rows))),
      this.#slots.h
    )
    const z = place(g.mulMat(this.#parameters.head.weight, h), this.#slots.z) // [V, n]
    const p = place(g.softMax(z, null, 1), this.#slots.p)
    const n = this.rows
    // log Z from the likeliest token, whose probability never underflows
    const top = g.reshape(place(g.argmax(z), this.#out.top), 1, n)
    const zTop = g.reshape(g.getRows(g.reshape(z, 1, vocabulary, n), top), 1, n)
    const pTop = g.reshape(g.getRows(g.reshape(p, 1, vocabulary, n), top), 1, n)
    const logZ = place(g.sub(zTop, g.log(pTop)), this.#out.logZ)
    const zTarget = g.reshape(g.getRows(g.reshape(z, 1, vocabulary * n), this.#in.flat), 1, n)
    g.run(place(g.sub(zTarget, logZ), this.#out.logprob))
    g.run(place(g.sub(logZ, g.sumRows(g.mul(p, z))), this.#out.entropy))
    return g
  }

  #tempered(g: Graph, h: Tensor): Tensor {
    return this.#temperature === 1 ? h : g.scale(h, 1 / this.#temperature)
  }

  #backwardGraph(hidden: Tensor, into: Tensor, withEntropy: boolean): Graph {
    const { head, outputNorm, embedding } = this.#parameters
    const rows = this.#parameters.rows
    const g = new Graph(this.#backend, 96 + NODES_PER_ROW * (rows?.trained.ids.length ?? 0))
    const { a, minusB, c, targets } = this.#in
    const { h, z, p } = this.#slots
    const onto = (dz: Tensor, lift: number): Tensor => g.scale(g.mulMat(head.transposed!, g.scale(dz, lift)), 1 / lift) // [d, n]
    const dzSoft = withEntropy ? g.mul(p, g.add(g.mul(z, minusB), c)) : null // [V, n]
    const dhSoft = dzSoft ? onto(dzSoft, PROBABILITY_LIFT) : g.mul(onto(p, PROBABILITY_LIFT), c)
    const dhAll = g.add(dhSoft, g.mul(g.getRows(head.weight, targets), a))
    const rowOf = (table: Tensor, id: number): Tensor => g.copy(g.window(table, [1, this.rows, 1, 1], [id, 0, 0, 0]))
    const dh = rows
      ? rowsBack(g, { table: rows.trained.head, gradient: rows.gradients.at(-1)! }, h, dhAll, (i) => {
          const id = rows.trained.ids[i]!
          const factor = withEntropy ? g.add(g.mul(rowOf(z, id), minusB), c) : c
          const hot = g.window(this.#hot!, [1, this.rows, 1, 1], [0, 0, i, 0])
          return { soft: g.mul(rowOf(p, id), factor), hot }
        })
      : dhAll
    if (head.gradient) {
      const dz = dzSoft ?? g.mul(p, c)
      g.run(g.addInto(head.gradient, g.mulMat(g.transposed(h), g.transposed(dz)))) // [d, V]
      g.run(g.addInto(head.gradient, g.getRowsBack(g.mul(h, a), targets, head.gradient)))
    } else if (embedding.gradient) throw new Error('an embedding is trained without its head')
    const dx = normBack(g, outputNorm, g.getRows(hidden, this.#in.rows), this.#tempered(g, dh))
    g.run(g.setRows(into, dx, this.#in.bins))
    return g
  }

  /** Log-probabilities, entropies and hits of the chunk [from, to) of predicted tokens; leaves p and z for `backward`. */
  forward(at: Int32Array, targets: Int32Array, from: number, to: number): HeadOutput {
    const graphs = this.#graphs!
    const n = to - from
    const padded = (source: Int32Array, fill: number): Int32Array => {
      const out = new Int32Array(this.rows).fill(fill)
      out.set(source.subarray(from, to))
      return out
    }
    const bin = graphs.into.ne[1] - 1
    const targetRows = padded(targets, 0)
    this.#targets = targetRows
    write(this.#backend, this.#in.rows, padded(at, 0))
    write(this.#backend, this.#in.bins, padded(at, bin))
    write(this.#backend, this.#in.targets, targetRows)
    write(
      this.#backend,
      this.#in.flat,
      targetRows.map((token, i) => token + this.#offsets[i]!)
    )
    graphs.forward.compute()
    return {
      logprobs: readF32(this.#backend, this.#out.logprob, n),
      entropy: readF32(this.#backend, this.#out.entropy, n),
      top: Uint8Array.from(readI32(this.#backend, this.#out.top, n), (token, i) => Number(token === targetRows[i]))
    }
  }

  /** Adds the chunk's gradient into the pass's gradient rows, from dL/dlogprob and dL/dentropy of its tokens. */
  backward(dLogprob: Float32Array, dEntropy: Float32Array): void {
    const graphs = this.#graphs!
    const n = dLogprob.length
    const withEntropy = dEntropy.some((value) => value !== 0)
    const a = new Float32Array(this.rows)
    const minusB = new Float32Array(this.rows)
    const c = new Float32Array(this.rows)
    const logZ = readF32(this.#backend, this.#out.logZ, n)
    const entropy = readF32(this.#backend, this.#out.entropy, n)
    a.set(dLogprob)
    // dz without its onehot part = p ∘ (c − b·z), c = −a − b·(H − log Z)
    for (let i = 0; i < n; i++) {
      minusB[i] = -dEntropy[i]!
      c[i] = -dLogprob[i]! - dEntropy[i]! * (entropy[i]! - logZ[i]!)
    }
    write(this.#backend, this.#in.a, a)
    write(this.#backend, this.#in.minusB, minusB)
    write(this.#backend, this.#in.c, c)
    if (this.#hot) {
      const { ids } = this.#parameters.rows!.trained
      const hot = new Float32Array(ids.length * this.rows)
      for (let i = 0; i < n; i++) {
        const k = ids.indexOf(this.#targets[i]!)
        if (k >= 0) hot[k * this.rows + i] = dLogprob[i]!
      }
      write(this.#backend, this.#hot, hot)
    }
    const graph = withEntropy ? graphs.backwardEntropy : graphs.backward
    graph.compute()
  }

  get bytes(): number {
    return this.#pool.bytes + this.#allocator.bytes
  }

  /** Forgets the pass. Call before its tensors are freed: others may take their addresses. */
  detach(): void {
    if (!this.#graphs) return
    this.#graphs.forward.dispose()
    this.#graphs.backward.dispose()
    this.#graphs.backwardEntropy.dispose()
    this.#graphs = null
  }

  dispose(): void {
    this.detach()
    this.#allocator.dispose()
    this.#pool.dispose()
  }
}
