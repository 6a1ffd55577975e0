/** Memory for the nodes of graphs. */
import { AppError } from '../../shared/errors.ts'
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
    for (const graph of graphs) refuseMissingKernels(graph)
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

/** Throws AppError('device') naming the first operation that the device cannot compute: ggml would abort on it. */
function refuseMissingKernels({ backend, handle, size }: Graph): void {
  if (backend.isCpu) return
  const { ggml } = backend.native
  for (let i = 0; i < size; i++) {
    const node = ggml.graph_node(handle, i)!
    if (backend.computes(node)) continue
    throw new AppError(
      'device',
      `${backend.name} (${backend.description}) cannot compute the operation ${ggml.op_desc(node)} as it is needed here`,
      'Set device: cpu (--device cpu) to train on the CPU of this machine.'
    )
  }
}
