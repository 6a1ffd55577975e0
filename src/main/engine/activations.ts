/** The memory one pass over T tokens needs: inputs, boundaries between layers, kept activations, scratch. */
import type { Architecture, ModelConfig } from './arch/architecture.ts'
import { KEY_GRAIN } from './blocks/attention.ts'
import type { AttentionScratch, Chunk } from './blocks/attention.ts'
import type { Backend } from './backend.ts'
import type { PackedBatch } from './batch.ts'
import { TensorPool, TYPE, write } from './tensor.ts'
import type { Tensor } from './tensor.ts'

/** `all`: what each layer's backward needs stays; `none`: only boundaries stay and the backward computes the rest again. */
export type Keep = 'all' | 'none'

const F16_MINUS_INFINITY = 0xfc00

export class Activations {
  readonly tokens: number
  readonly keep: Keep
  readonly pool: TensorPool
  readonly tokenIds: Tensor // I32 [T]
  readonly positions: Tensor // I32 [T]
  /** Residual stream before each layer, and after the last [d, T]. */
  readonly boundaries: readonly Tensor[]
  /** Gradient of the residual stream [d, T + 1], two taken in turn; the last column is a bin for padded rows. */
  readonly gradients: readonly [Tensor, Tensor]
  /** By layer; with keep `none` one set serves all layers. */
  readonly kept: readonly Readonly<Record<string, Tensor>>[]
  readonly scratch: AttentionScratch
  #masks: { pool: TensorPool; chunks: readonly Chunk[]; key: string } | null = null
  readonly #backend: Backend

  constructor(backend: Backend, architecture: Architecture, config: ModelConfig, tokens: number, keep: Keep) {
    const pool = new TensorPool(backend, config.layers * 12 + 64)
    const f32 = (...ne: readonly number[]): Tensor => pool.add(TYPE.F32, ...ne)
    this.#backend = backend
    this.tokens = tokens
    this.keep = keep
    this.pool = pool
    this.tokenIds = pool.add(TYPE.I32, tokens)
    this.positions = pool.add(TYPE.I32, tokens)
    this.boundaries = Array.from({ length: config.layers + 1 }, () => f32(config.width, tokens))
    this.gradients = [f32(config.width, tokens + 1), f32(config.width, tokens + 1)]
    const sizes = Object.entries(architecture.kept(config, tokens)).filter(([name]) => keep === 'all' || name === 'o')
    const sets = keep === 'all' ? config.layers : 1
    const made = Array.from({ length: sets }, () => Object.fromEntries(sizes.map(([name, ne]) => [name, f32(...ne)])))
    this.kept = Array.from({ length: config.layers }, (_, layer) => made[keep === 'all' ? layer : 0]!)
    this.scratch = {
      dq: f32(config.headDim, config.heads, tokens),
      dk: f32(config.headDim, tokens, config.keyHeads),
      dv: f32(config.headDim, tokens, config.keyHeads)
    }
    pool.allocate()
  }

  /** Loads a batch's inputs; returns its attention chunks and a key that is equal for batches of equal graph shapes. */
  load(batch: PackedBatch, queriesPerChunk: number): { chunks: readonly Chunk[]; key: string } {
    write(this.#backend, this.tokenIds, batch.tokens)
    write(this.#backend, this.positions, batch.positions)
    const bounds = chunkBounds(batch.starts, queriesPerChunk)
    const key = bounds.map(({ start, keyStart, before }) => `${start}:${keyStart}:${before}`).join(' ')
    if (this.#masks?.key !== key) {
      this.#masks?.pool.dispose()
      const pool = new TensorPool(this.#backend, bounds.length + 2)
      const hides = bounds.some(({ before }) => before !== null && before > 0)
      const hiding = hides ? pool.add(TYPE.F32, KEY_GRAIN + this.tokens) : null
      const chunks = bounds.map(({ before, ...it }) => ({
        ...it,
        mask: before === null ? pool.add(TYPE.F16, it.end - it.keyStart, it.end - it.start) : null,
        before: before ?? 0,
        hiding: before === null || before === 0 ? null : hiding
      }))
      pool.allocate()
      if (hiding) write(this.#backend, hiding, new Float32Array(KEY_GRAIN + this.tokens).fill(-Infinity, 0, KEY_GRAIN))
      this.#masks = { pool, chunks, key }
    }
    for (const chunk of this.#masks.chunks)
      if (chunk.mask) write(this.#backend, chunk.mask, maskOf(batch.starts, chunk))
    return { chunks: this.#masks.chunks, key }
  }

  get bytes(): number {
    return this.pool.bytes + (this.#masks?.pool.bytes ?? 0)
  }

  dispose(): void {
    this.#masks?.pool.dispose()
    this.pool.dispose()
  }
}

type Bounds = {
  start: number
  end: number
  keyStart: number
  /** Keys before the one sequence that the chunk lies in; null when it touches several, which then need a mask. */
  before: number | null
}

/** Chunks of queries; keys begin at the first sequence the chunk touches, rounded down so that shapes repeat. */
function chunkBounds(starts: Int32Array, queriesPerChunk: number): Bounds[] {
  const bounds: Bounds[] = []
  for (let start = 0; start < starts.length; start += queriesPerChunk) {
    const end = Math.min(start + queriesPerChunk, starts.length)
    const sequence = starts[start]!
    const keyStart = Math.floor(sequence / KEY_GRAIN) * KEY_GRAIN
    bounds.push({ start, end, keyStart, before: starts[end - 1] === sequence ? sequence - keyStart : null })
  }
  return bounds
}

/** F16 [m, n]: zero from the query's own sequence start up to the query itself. */
function maskOf(starts: Int32Array, chunk: Pick<Bounds, 'start' | 'end' | 'keyStart'>): Uint16Array {
  const m = chunk.end - chunk.keyStart
  const mask = new Uint16Array(m * (chunk.end - chunk.start)).fill(F16_MINUS_INFINITY)
  for (let query = chunk.start; query < chunk.end; query++) {
    const row = (query - chunk.start) * m
    mask.fill(0, row + starts[query]! - chunk.keyStart, row + query - chunk.keyStart + 1)
  }
  return mask
}
