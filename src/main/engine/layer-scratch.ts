/**
 * The scratch memory that one layer's graphs would need, asked of ggml's own allocator without weights, without batches and
 * without taking the memory: the graphs are described over tensors that all pretend to lie at the start of one buffer.
 */
import type { Keep } from './activations.ts'
import { biasName } from './arch/architecture.ts'
import type { Architecture, Layer, ModelConfig, Pass } from './arch/architecture.ts'
import type { Backend } from './backend.ts'
import { layerBackward, layerCapacity, layerForward, slotSizes } from './blocks/layer.ts'
import { partsOf, Tape } from './blocks/tape.ts'
import type { Linear } from './blocks/linear.ts'
import type { Norm } from './blocks/norm.ts'
import { Owned } from './ffi/owned.ts'
import type { Pointer } from './ffi/structs.ts'
import type { GgufInfo } from './gguf.ts'
import { Graph } from './graph.ts'
import { largestBuffer, scratchBytes, scratchGroups } from './graph-allocator.ts'
import { noMemory } from './no-memory.ts'
import { transposeType, withoutAdapter } from './parameters.ts'
import { contiguousStrides, shape, TYPE } from './tensor.ts'
import type { Tensor } from './tensor.ts'
import { transposingGraph } from './weight-copies.ts'
import type { Transposes } from './weight-copies.ts'
import type { TargetModule } from '../../shared/recipe.ts'

/** What is trained, before any of it exists. */
export type PlannedTraining =
  | { readonly kind: 'full' }
  | {
      readonly kind: 'lora'
      readonly r: number
      readonly targets: readonly TargetModule[]
      /** Tokens whose rows of embedding and head are trained too. */
      readonly tokenRows?: number
    }

export type LayerSketch = {
  readonly architecture: Architecture
  readonly config: ModelConfig
  readonly info: GgufInfo
  readonly trained: PlannedTraining
  readonly tokens: number
  readonly keep: Keep
  readonly chunkTokens: number | undefined
  readonly chunkQueries: number
  readonly transposes: Transposes
  readonly transposeType?: number
}

const DEVICE_CPU = 0

/** Tensors with a shape and an address but no memory behind them that anyone may touch. */
class Pretended {
  readonly #backend: Backend
  readonly #context: Owned<Pointer>
  #buffer: Owned<Pointer> | null = null
  readonly #tensors: Tensor[] = []

  constructor(backend: Backend, capacity: number) {
    const { ggml } = backend.native
    this.#backend = backend
    const context = ggml.init({ mem_size: ggml.tensor_overhead() * capacity, mem_buffer: null, no_alloc: true })
    this.#context = new Owned('tensor context', context!, (it) => ggml.free(it))
  }

  add(type: number, ...ne: readonly number[]): Tensor {
    const { native } = this.#backend
    const s = shape(...ne)
    const ptr = native.ggml.new_tensor_4d(this.#context.handle, type, ...s)!
    const tensor = { ptr, type, ne: s, nb: contiguousStrides(native, type, s) }
    this.#tensors.push(tensor)
    return tensor
  }

  /** Gives every tensor the same address. The buffer is of host memory, which is reserved but never written. */
  settle(): void {
    const { ggml, registry } = this.#backend.native
    const bytes = Math.max(...this.#tensors.map(({ ptr }) => ggml.nbytes(ptr)))
    const type = ggml.backend_dev_buffer_type(registry.backend_dev_by_type(DEVICE_CPU))
    const buffer = ggml.backend_buft_alloc_buffer(type, bytes)
    if (buffer === null)
      throw noMemory({ name: 'CPU', isCpu: true }, `${bytes} bytes that the memory plan is made over`)
    this.#buffer = new Owned('buffer', buffer, (it) => ggml.backend_buffer_free(it))
    for (const tensor of this.#tensors) this.place(tensor)
  }

  place(node: Tensor): Tensor {
    const { ggml } = this.#backend.native
    const buffer = this.#buffer!.handle
    if (ggml.backend_tensor_alloc(buffer, node.ptr, ggml.backend_buffer_get_base(buffer)) !== 0)
      throw new Error('a tensor could not be placed')
    return node
  }

  dispose(): void {
    this.#buffer?.dispose()
    this.#context.dispose()
  }
}

/** The first layer's weights as training sees them; every layer of an architecture has the same shapes. */
function pretendedLayer(pretended: Pretended, sketch: LayerSketch, isCpu: boolean): Layer {
  const { architecture, config, info, trained } = sketch
  const f32 = (...ne: readonly number[]): Tensor => pretended.add(TYPE.F32, ...ne)
  const full = trained.kind === 'full'
  const roles = trained.kind === 'lora' ? trained.targets.map((target) => architecture.targets[target]) : []
  const norm = (name: string): Norm => {
    const { type, ne } = info.tensors.get(`blk.0.${name}`)!
    return { name, weight: pretended.add(type, ...ne), gradient: full ? f32(...ne) : null, eps: 1e-5 }
  }
  const linear = (role: string, name: string): Linear => {
    const { type, ne } = info.tensors.get(`blk.0.${name}`)!
    const [input, output] = ne
    const r = trained.kind === 'lora' && roles.includes(role) ? trained.r : 0
    return {
      name,
      weight: pretended.add(type, ...ne),
      transposed: pretended.add(sketch.transposeType ?? transposeType(type, output, isCpu), output, input),
      lora:
        r > 0 ? { a: f32(input, r), b: f32(r, output), gradA: f32(input, r), gradB: f32(r, output), scale: 2 } : null,
      gradient: full ? f32(...ne) : null,
      bias: info.tensors.has(`blk.0.${biasName(name)}`)
        ? { value: f32(output), gradient: full ? f32(output) : null }
        : null
    }
  }
  const factors = config.ropeFactors.short ? f32(...info.tensors.get(config.ropeFactors.short)!.ne) : null
  return {
    norms: Object.fromEntries(Object.entries(architecture.norms).map(([role, name]) => [role, norm(name)])),
    linears: Object.fromEntries(Object.entries(architecture.linears).map(([role, name]) => [role, linear(role, name)])),
    rope: config.rope,
    ropeFactors: { short: factors, long: factors },
    window: 0
  }
}

/**
 * Bytes of scratch that a layer's forward (with the adapter and without), its backward and its transposes share, as far as
 * they can: `scratchGroups`. One row holding one sequence, seen whole, is the dearest case; where scratch lies in several
 * buffers, that a window makes groups of its own is not counted.
 */
export function layerScratch(backend: Backend, sketch: LayerSketch): number {
  const { architecture, config, tokens, keep, chunkTokens, chunkQueries, transposes } = sketch
  const pretended = new Pretended(backend, 256 + Math.ceil(tokens / chunkQueries))
  try {
    const layer = pretendedLayer(pretended, sketch, backend.isCpu)
    const f32 = (...ne: readonly number[]): Tensor => pretended.add(TYPE.F32, ...ne)
    const chunks = Array.from({ length: Math.ceil(tokens / chunkQueries) }, (_, i) => {
      const [start, end] = [i * chunkQueries, Math.min((i + 1) * chunkQueries, tokens)]
      return { start, end, keys: [{ start: 0, end }], causal: true, before: 0, mask: null, hiding: null }
    })
    const pass: Pass = {
      positions: pretended.add(TYPE.I32, tokens),
      parts: partsOf(tokens, chunkTokens),
      chunks: { 0: chunks },
      contextTokens: 0,
      scratch: {
        dq: f32(config.headDim, config.heads, tokens),
        dk: f32(config.headDim, tokens, config.keyHeads),
        dv: f32(config.headDim, tokens, config.keyHeads)
      }
    }
    const slots = Object.fromEntries(
      Object.entries(slotSizes(architecture, config, tokens, { keep, chunkTokens })).map(([name, ne]) => [
        name,
        f32(...ne)
      ])
    )
    const copies = Object.values(layer.linears).map(({ weight, transposed }) => ({
      weight,
      into: transposed!,
      transposed: true
    }))
    const rows = pretended.add(TYPE.I32, Math.max(...copies.map(({ weight }) => weight.ne[1])))
    const [x, dy, into] = [f32(config.width, tokens), f32(config.width, tokens), f32(config.width, tokens)]
    pretended.settle()

    const measured = (g: Graph, describe: (g: Graph) => void = () => undefined): number => {
      try {
        describe(g)
        return scratchBytes(g)
      } finally {
        g.dispose()
      }
    }
    const bytes = (describe: (g: Graph) => void): number =>
      measured(new Graph(backend, layerCapacity(pass.parts.length, chunks.length)), describe)
    // as Trainer builds them
    const about = { config, layer, pass, slots }
    const place = (node: Tensor): Tensor => pretended.place(node)
    const backward = bytes((g) => {
      const tape = new Tape(g, about, keep === 'all' ? { place, saved: slots } : { place })
      layerBackward(tape, architecture, x, dy, into, keep === 'none')
    })
    const transposing = transposes === 'cached' ? 0 : measured(transposingGraph(backend, copies, rows))
    const forwardOf = (some: Layer): number =>
      bytes((g) => layerForward(new Tape(g, { ...about, layer: some }, { place }), architecture, x, into))
    const forward = forwardOf(layer)
    const largest = largestBuffer(backend)
    // smaller than with the adapter, so that it counts only where the two cannot share
    const reference = forward > largest && sketch.trained.kind === 'lora' ? forwardOf(withoutAdapter(layer)) : 0
    const groups = scratchGroups([forward, reference, backward, transposing], (size) => size, largest)
    return groups.reduce((sum, group) => sum + Math.max(...group), 0)
  } finally {
    pretended.dispose()
  }
}
