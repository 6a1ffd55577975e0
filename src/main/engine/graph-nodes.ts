/**
 * A ggml graph itself: the nodes that are described, what of them is run and read, and its end. Describing never computes:
 * operations only add nodes; `GraphAllocator` gives the nodes memory; `compute` runs them.
 */
import type { Backend } from './backend.ts'
import { compute } from './backend.ts'
import { bufferOf } from './ffi/libraries.ts'
import { Owned } from './ffi/owned.ts'
import type { Pointer } from './ffi/structs.ts'
import { contiguousStrides, isContiguous, sameShape, shown, TYPE } from './tensor.ts'
import type { Shape, Tensor } from './tensor.ts'

/** Throws where an operation's operands do not fit: ggml would abort the process. */
export function need(condition: boolean, operation: string, ...operands: readonly Tensor[]): void {
  if (!condition) throw new Error(`${operation} does not accept ${operands.map(shown).join(' and ')}`)
}

export class GraphNodes {
  readonly backend: Backend
  readonly #context: Owned<Pointer>
  readonly handle: Pointer

  constructor(backend: Backend, capacity = 2048) {
    const { ggml } = backend.native
    this.backend = backend
    const bytes = ggml.tensor_overhead() * capacity + ggml.graph_overhead_custom(capacity, false)
    this.#context = new Owned('graph', ggml.init({ mem_size: bytes, mem_buffer: null, no_alloc: true })!, (it) =>
      ggml.free(it)
    )
    this.handle = ggml.new_graph_custom(this.#context.handle, capacity, false)!
  }

  /** Where nodes are made. */
  protected get context(): Pointer {
    return this.#context.handle
  }

  protected get ggml(): Backend['native']['ggml'] {
    return this.backend.native.ggml
  }

  protected made(ptr: Pointer | null, ne: Shape, type: number = TYPE.F32): Tensor {
    if (ptr === null) throw new Error('ggml returned no tensor')
    return { ptr, type, ne, nb: contiguousStrides(this.backend.native, type, ne) }
  }

  /** The node, when the device has a kernel for it; a node that is not added to the graph costs nothing. */
  protected kernel(ptr: Pointer | null, ne: Shape): Tensor | null {
    return ptr !== null && this.backend.computes(ptr) ? this.made(ptr, ne) : null
  }

  /**
   * Has `node` computed into the memory of `slot`, a tensor with memory of its own, or of `at`, a window of it without gaps. Call
   * before allocation; the node must not be a view.
   */
  place(node: Tensor, slot: Tensor, at = slot): Tensor {
    need(sameShape(node, at) && node.type === at.type && isContiguous(this.backend.native, at), 'place', node, at)
    // a pool larger than the device's largest buffer has several: the slot's own is meant, which a window does not know
    const buffer = bufferOf(slot.ptr)
    const status = this.ggml.backend_tensor_alloc(buffer, node.ptr, this.ggml.get_data(at.ptr))
    if (status !== 0) throw new Error('a graph node could not be placed into its slot')
    return node
  }

  /** Adds what `node` needs, and `node`, to the graph. */
  run(node: Tensor): void {
    this.ggml.build_forward_expand(this.handle, node.ptr)
  }

  /** Keeps a node's memory from being reused inside the graph, so that it can be read after `compute`. */
  output(node: Tensor): Tensor {
    this.ggml.set_output(node.ptr)
    this.run(node)
    return node
  }

  get size(): number {
    return this.ggml.graph_n_nodes(this.handle)
  }

  compute(): void {
    compute(this.backend, this.handle)
  }

  dispose(): void {
    this.#context.dispose()
  }
}
