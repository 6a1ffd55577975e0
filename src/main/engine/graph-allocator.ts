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
  /** One, but where scratch lies in several buffers: see `scratchGroups`. */
  readonly #handles: Owned<Pointer>[] = []

  constructor(backend: Backend) {
    this.backend = backend
  }

  #handle(index: number): Pointer {
    const { ggml } = this.backend.native
    this.#handles[index] ??= new Owned('graph allocator', ggml.gallocr_new(this.backend.bufferType)!, (it) =>
      ggml.gallocr_free(it)
    )
    return this.#handles[index].handle
  }

  /**
   * Gives every node of these graphs its place, once. All graphs that share an allocator must come in one call (or the
   * earlier ones be disposed): growing the memory later would leave them with stale addresses. Throws AppError('memory').
   */
  allocate(...graphs: readonly Graph[]): void {
    const { ggml } = this.backend.native
    for (const graph of graphs) refuseMissingKernels(graph)
    for (const [index, group] of this.#groups(graphs).entries()) {
      const handle = this.#handle(index)
      const fits = group.every((graph) => ggml.gallocr_reserve(handle, graph.handle))
      if (!fits || !group.every((graph) => ggml.gallocr_alloc_graph(handle, graph.handle)))
        throw noMemory(this.backend, 'the scratch of a graph')
    }
  }

  #groups(graphs: readonly Graph[]): (readonly Graph[])[] {
    const largest = largestBuffer(this.backend)
    if (graphs.length < 2 || largest === Infinity) return [graphs]
    return scratchGroups(graphs, (graph) => scratchBytes(graph), largest)
  }

  get bytes(): number {
    const { ggml } = this.backend.native
    return this.#handles.reduce((sum, { handle }) => sum + ggml.gallocr_get_buffer_size(handle, 0), 0)
  }

  dispose(): void {
    for (const handle of this.#handles) handle.dispose()
  }
}

/** Bytes that this graph would need, without taking them. */
export function scratchBytes({ backend, handle }: Graph): number {
  const { ggml } = backend.native
  const allocator = new Owned('graph allocator', ggml.gallocr_new(backend.bufferType)!, (it) => ggml.gallocr_free(it))
  try {
    const size = [0]
    ggml.gallocr_reserve_n_size(allocator.handle, handle, null, null, size)
    return size[0]!
  } finally {
    allocator.dispose()
  }
}

/** Bytes of the largest buffer of a device; Infinity where nothing bounds them (CPU, CUDA). */
export function largestBuffer({ native, bufferType }: Backend): number {
  const bytes = Number(native.ggml.backend_buft_get_max_size(bufferType))
  return bytes < Number.MAX_SAFE_INTEGER ? bytes : Infinity
}

/**
 * What may share scratch: whatever fits one buffer; of larger ones only those of equal size. A layer's graphs lie in several
 * buffers then, and ggml's allocator, asked for one that needs more of one buffer and less of another, gives all of
 * them back and takes new ones, which leaves the nodes of earlier graphs without memory.
 */
export function scratchGroups<T>(graphs: readonly T[], bytesOf: (graph: T) => number, largest: number): T[][] {
  const groups = new Map<number, T[]>()
  for (const graph of graphs) {
    const bytes = bytesOf(graph)
    const key = bytes <= largest ? 0 : bytes
    groups.set(key, [...(groups.get(key) ?? []), graph])
  }
  return [...groups.values()]
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
