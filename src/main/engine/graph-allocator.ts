/** Memory for the nodes of graphs. */
import type { Backend } from './backend.ts'
import { Owned } from './ffi/owned.ts'
import type { Pointer } from './ffi/structs.ts'
import type { Graph } from './graph.ts'
import { noMemory } from './no-memory.ts'

/** Scratch memory that graphs share: each graph's nodes live only while it computes. */
export class GraphAllocator {
  readonly backend: Backend
  readonly #handle: Owned<Pointer>

  constructor(backend: Backend) {
    const { ggml } = backend.native
    this.backend = backend
    this.#handle = new Owned('graph allocator', ggml.gallocr_new(backend.bufferType)!, (it) => ggml.gallocr_free(it))
  }

  /**
   * Gives every node of these graphs its place, once. All graphs that share an allocator must come in one call (or the
   * earlier ones be disposed): growing the memory later would leave them with stale addresses. Throws AppError('memory').
   */
  allocate(...graphs: readonly Graph[]): void {
    const { ggml } = this.backend.native
    for (const graph of graphs) graph.refuseMissingKernels()
    const fits = graphs.every((graph) => ggml.gallocr_reserve(this.#handle.handle, graph.handle))
    if (!fits || !graphs.every((graph) => ggml.gallocr_alloc_graph(this.#handle.handle, graph.handle))) {
      throw noMemory(this.backend, 'the scratch of a graph')
    }
  }

  /** Bytes that this graph would need, without taking them. */
  measure(graph: Graph): number {
    const size = [0]
    this.backend.native.ggml.gallocr_reserve_n_size(this.#handle.handle, graph.handle, null, null, size)
    return size[0]!
  }

  get bytes(): number {
    return this.backend.native.ggml.gallocr_get_buffer_size(this.#handle.handle, 0)
  }

  dispose(): void {
    this.#handle.dispose()
  }
}
