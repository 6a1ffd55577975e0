/** Which queries of a packed row are computed together, which keys they meet, and what of it each may see. Pure. */
import type { PackedBatch } from './batch.ts'

/** Of a packed row, what decides who sees whom. */
export type Sight = Pick<PackedBatch, 'positions' | 'starts' | 'prefixStarts' | 'prefixEnds'>

export type Span = { readonly start: number; readonly end: number }

/** The queries [start, end) and the spans of keys they meet, in order, none touching another; the last ends at `end`. */
export type Bounds = Span & {
  readonly keys: readonly Span[]
  /** All queries are of one sequence and see all keys up to themselves, but for `before` at the front: no mask is needed. */
  readonly causal: boolean
  /** Fewer than KEY_GRAIN; 0 where there is a mask. */
  readonly before: number
}

/** Spans of keys begin and end at multiples of this where they can, so that shapes repeat. */
export const KEY_GRAIN = 64
const F16_MINUS_INFINITY = 0xfc00

const down = (n: number): number => Math.floor(n / KEY_GRAIN) * KEY_GRAIN
const up = (n: number): number => Math.ceil(n / KEY_GRAIN) * KEY_GRAIN

export const keyCount = ({ keys }: Pick<Bounds, 'keys'>): number => keys.reduce((sum, it) => sum + it.end - it.start, 0)

/** The first key of its own sequence that a query sees; a window of 0 has no end. */
const ownFrom = ({ starts }: Sight, query: number, window: number): number =>
  window === 0 ? starts[query]! : Math.max(starts[query]!, query - window + 1)

/** What a query sees of the prefix it shares with others; empty when there is none, or none within its window. */
function prefixSpan({ positions, prefixStarts, prefixEnds }: Sight, query: number, window: number): Span {
  const [start, end] = [prefixStarts[query]!, prefixEnds[query]!]
  const hidden = window === 0 ? 0 : Math.max(0, positions[query]! - window + 1)
  return { start: Math.min(start + hidden, end), end }
}

/**
 * Chunks of queries. Nothing behind a chunk's end is among its keys (causal), nothing before the first sequence it touches
 * (packing) or the first query's window, except a shared prefix that lies further up the row: a span of its own.
 */
export function chunkBounds(sight: Sight, queriesPerChunk: number, window: number): Bounds[] {
  const tokens = sight.starts.length
  const bounds: Bounds[] = []
  for (let start = 0; start < tokens; start += queriesPerChunk) {
    const end = Math.min(start + queriesPerChunk, tokens)
    let from = start
    let apart: Span | undefined
    for (let query = start; query < end; query++) {
      from = Math.min(from, ownFrom(sight, query, window))
      const seen = prefixSpan(sight, query, window)
      // A prefix inside the chunk is among its own keys; one before it belongs to the first sequence only.
      if (seen.start < Math.min(seen.end, start))
        apart = { start: down(Math.min(seen.start, apart?.start ?? seen.start)), end: up(seen.end) }
    }
    const one = window === 0 && sight.starts[end - 1] === sight.starts[start]
    if (one && apart) {
      // Inside one member of a group: the exact prompt and the exact sequence, so that causal order is enough.
      const prompt = { start: sight.prefixStarts[start]!, end: sight.prefixEnds[start]! }
      const keys = prompt.end < from ? [prompt, { start: from, end }] : [{ start: prompt.start, end }]
      bounds.push({ start, end, keys, causal: true, before: 0 })
      continue
    }
    const own = { start: down(from), end }
    const joined = apart && apart.end >= own.start ? [{ start: Math.min(apart.start, own.start), end }] : [own]
    const keys = apart && apart.end < own.start ? [apart, own] : joined
    bounds.push({ start, end, keys, causal: one, before: one ? from - own.start : 0 })
  }
  return bounds
}

/** F16 [m, n]: zero where a query sees a key, −∞ elsewhere. */
export function maskOf(sight: Sight, chunk: Bounds, window: number): Uint16Array {
  const m = keyCount(chunk)
  const mask = new Uint16Array(m * (chunk.end - chunk.start)).fill(F16_MINUS_INFINITY)
  for (let query = chunk.start; query < chunk.end; query++) {
    let column = (query - chunk.start) * m
    const seen = [prefixSpan(sight, query, window), { start: ownFrom(sight, query, window), end: query + 1 }]
    for (const span of chunk.keys) {
      for (const { start, end } of seen) {
        const [from, to] = [Math.max(start, span.start), Math.min(end, span.end)]
        if (from < to) mask.fill(0, column + from - span.start, column + to - span.start)
      }
      column += span.end - span.start
    }
  }
  return mask
}
