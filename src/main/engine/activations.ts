/** The memory one pass over T tokens needs: inputs, boundaries between layers, kept activations, scratch. */
import { windowsOf } from './arch/architecture.ts'
import type { Architecture, ModelConfig, Pass } from './arch/architecture.ts'
import type { AttentionScratch, Chunk } from './blocks/attention.ts'
import { slotSizes } from './blocks/layer.ts'
import { chunkBounds, KEY_GRAIN, keyCount, maskOf } from './attention-chunks.ts'
import type { Bounds } from './attention-chunks.ts'
import type { Backend } from './backend.ts'
import type { PackedBatch } from './batch.ts'
import { orDispose } from './ffi/owned.ts'
import { copyTensor, TensorPool, TYPE, write } from './tensor.ts'
import type { Tensor } from './tensor.ts'

/** `all`: what each layer's backward needs stays; `none`: only boundaries stay and the backward computes the rest again. */
export type Keep = 'all' | 'none'

/**
 * Where the residual stream between layers waits for the backward: on the device, or in the host's memory with two of it on
 * the device, the one a layer reads and the one it writes.
 */
export type Boundaries = 'device' | 'host'

export type ActivationSettings = {
  readonly keep: Keep
  /** On the device where nothing is said. */
  readonly boundaries?: Boundaries | undefined
  /** Tokens that all of a layer but its attention is computed for at once; the whole row where nothing is said. */
  readonly chunkTokens?: number | undefined
}

export class Activations {
  readonly tokens: number
  readonly keep: Keep
  readonly pool: TensorPool
  readonly tokenIds: Tensor // I32 [T]
  readonly positions: Tensor // I32 [T]
  /** Residual stream before each layer, and after the last [d, T]; with boundaries on the host, two taken in turn. */
  readonly boundaries: readonly Tensor[]
  /** Gradient of the residual stream [d, T + 1], two taken in turn; the last column is a bin for padded rows. */
  readonly gradients: readonly [Tensor, Tensor]
  /** Slots by layer; with keep `none` one set serves all layers. */
  readonly kept: readonly Readonly<Record<string, Tensor>>[]
  readonly scratch: AttentionScratch
  /** Boundaries of all layers but the last, whose own is still on the device when the backward begins. */
  readonly #host: { readonly pool: TensorPool; readonly boundaries: readonly Tensor[] } | null
  #masks: { pool: TensorPool; chunks: Pass['chunks']; key: string } | null = null
  readonly #backend: Backend
  readonly #windows: readonly number[]

  constructor(
    backend: Backend,
    architecture: Architecture,
    config: ModelConfig,
    tokens: number,
    { keep, boundaries = 'device', chunkTokens }: ActivationSettings
  ) {
    const pool = new TensorPool(backend, config.layers * 12 + 64)
    const f32 = (...ne: readonly number[]): Tensor => pool.add(TYPE.F32, ...ne)
    this.#backend = backend
    this.#windows = windowsOf(config)
    this.tokens = tokens
    this.keep = keep
    this.pool = pool
    this.tokenIds = pool.add(TYPE.I32, tokens)
    this.positions = pool.add(TYPE.I32, tokens)
    const some = Array.from({ length: boundaries === 'host' ? 2 : config.layers + 1 }, () => f32(config.width, tokens))
    this.boundaries = Array.from({ length: config.layers + 1 }, (_, layer) => some[layer % some.length]!)
    this.gradients = [f32(config.width, tokens + 1), f32(config.width, tokens + 1)]
    const sizes = Object.entries(slotSizes(architecture, config, tokens, { keep, chunkTokens }))
    const sets = keep === 'all' ? config.layers : 1
    const made = Array.from({ length: sets }, () => Object.fromEntries(sizes.map(([name, ne]) => [name, f32(...ne)])))
    this.kept = Array.from({ length: config.layers }, (_, layer) => made[keep === 'all' ? layer : 0]!)
    this.scratch = {
      dq: f32(config.headDim, config.heads, tokens),
      dk: f32(config.headDim, tokens, config.keyHeads),
      dv: f32(config.headDim, tokens, config.keyHeads)
    }
    pool.allocate()
    this.#host = boundaries === 'host' ? orDispose([pool], () => onHost(backend, config, tokens)) : null
  }

  /** After a layer was given its boundary: sets it aside, where the device has no room for all of them. */
  setAside(layer: number): void {
    const waiting = this.#host?.boundaries[layer]
    if (waiting) copyTensor(this.#backend, this.boundaries[layer]!, waiting)
  }

  /** Before a layer's backward: brings its boundary back. */
  bringBack(layer: number): void {
    const waiting = this.#host?.boundaries[layer]
    if (waiting) copyTensor(this.#backend, waiting, this.boundaries[layer]!)
  }

  /**
   * Loads a batch's inputs; returns its attention chunks by window, and a key that is equal for batches of equal graph
   * shapes.
   */
  load(batch: PackedBatch, queriesPerChunk: number): { chunks: Pass['chunks']; key: string } {
    write(this.#backend, this.tokenIds, batch.tokens)
    write(this.#backend, this.positions, batch.positions)
    const bounds = this.#windows.map((window) => chunkBounds(batch, queriesPerChunk, window))
    const key = bounds.map((them) => them.map(shapeOf).join(' ')).join(' | ')
    if (this.#masks?.key !== key) {
      this.#masks?.pool.dispose()
      this.#masks = null
      const pool = new TensorPool(this.#backend, bounds.flat().length + 2)
      const hides = bounds.flat().some(({ before }) => before > 0)
      const hiding = hides ? pool.add(TYPE.F32, KEY_GRAIN + this.tokens) : null
      const masked = (it: Bounds): Chunk => ({
        ...it,
        mask: it.causal ? null : pool.add(TYPE.F16, keyCount(it), it.end - it.start),
        hiding: it.before > 0 ? hiding : null
      })
      const chunks = Object.fromEntries(this.#windows.map((window, i) => [window, bounds[i]!.map(masked)]))
      pool.allocate()
      if (hiding) write(this.#backend, hiding, new Float32Array(KEY_GRAIN + this.tokens).fill(-Infinity, 0, KEY_GRAIN))
      this.#masks = { pool, chunks, key }
    }
    const { chunks } = this.#masks
    for (const window of this.#windows)
      for (const chunk of chunks[window]!)
        if (chunk.mask) write(this.#backend, chunk.mask, maskOf(batch, chunk, window))
    return { chunks, key }
  }

  /** Bytes of host memory, where boundaries wait there. */
  get hostBytes(): number {
    return this.#host?.pool.bytes ?? 0
  }

  /** Bytes on the device. */
  get bytes(): number {
    return this.pool.bytes + (this.#masks?.pool.bytes ?? 0)
  }

  dispose(): void {
    this.#masks?.pool.dispose()
    this.#host?.pool.dispose()
    this.pool.dispose()
  }
}

function onHost(
  backend: Backend,
  { layers, width }: ModelConfig,
  tokens: number
): { pool: TensorPool; boundaries: Tensor[] } {
  const pool = new TensorPool(backend, layers + 1, 'host')
  const boundaries = Array.from({ length: layers - 1 }, () => pool.add(TYPE.F32, width, tokens))
  return { pool: pool.allocate(), boundaries }
}

const shapeOf = ({ start, keys, causal, before }: Bounds): string =>
  `${start}:${keys.map((span) => `${span.start}-${span.end}`).join('+')}:${causal}:${before}`
