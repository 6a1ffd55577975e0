/** The trained weights as a file: matrices in F16, norms in F32, as llama.cpp's own converter writes them. */
import type { Parameters } from '../../src/main/engine/parameters.ts'
import { writeGguf } from '../../src/main/engine/gguf-writer.ts'
import { Graph, GraphAllocator } from '../../src/main/engine/graph.ts'
import { TensorPool, TYPE } from '../../src/main/engine/tensor.ts'

export function saveTrained(parameters: Parameters, metadataFrom: string, path: string, type: number = TYPE.F16): void {
  const { backend } = parameters.model
  const pool = new TensorPool(backend, parameters.list.length + 1)
  const tensors = parameters.list.map(({ name, value }) => ({
    name,
    value,
    tensor: pool.add(value.ne[1] > 1 ? type : TYPE.F32, ...value.ne)
  }))
  pool.allocate()
  const graph = new Graph(backend, tensors.length * 4 + 16)
  for (const { value, tensor } of tensors) graph.run(graph.cpy(value, tensor))
  const allocator = new GraphAllocator(backend)
  allocator.allocate(graph)
  graph.compute()
  writeGguf(backend, path, { metadataFrom, values: {}, tensors })
  graph.dispose()
  allocator.dispose()
  pool.dispose()
}
