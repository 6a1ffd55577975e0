/** Token lengths as bars against a context. */

export type Lengths = {
  /** One more than counts; bar i holds lengths from edges[i] to edges[i + 1]. */
  readonly edges: readonly number[]
  readonly counts: readonly number[]
  readonly longest: number
  readonly contextLength: number
  readonly counted: number
}
export type LengthBar = { readonly from: number; readonly to: number; readonly count: number; readonly over: boolean }

/** A bar is `over` when it starts at or beyond the limit. */
export function lengthBars({ edges, counts }: Lengths, limit: number): LengthBar[] {
  return counts.map((count, i) => {
    const from = edges[i]!
    return { from, to: edges[i + 1]!, count, over: from >= limit }
  })
}

/**
 * About how many of the counted samples are longer than `limit` tokens: whole bars beyond it, and of the bar it falls
 * into the part beyond, as if lengths were spread evenly inside the bar. Exact when nothing or everything is beyond.
 */
export function countOver({ edges, counts, longest }: Lengths, limit: number): number {
  if (longest <= limit) return 0
  return counts.reduce((sum, count, i) => {
    const [from, to] = [edges[i]!, edges[i + 1]!]
    if (from >= limit) return sum + count
    return to <= limit ? sum : sum + (count * (to - limit)) / (to - from)
  }, 0)
}

/** What the figure means for training, in a sentence. */
export function lengthSentence(lengths: Lengths, limit: number): string {
  const over = countOver(lengths, limit)
  const of = lengths.counted.toLocaleString('en')
  if (over === 0) return `All ${of} counted samples fit into ${limit.toLocaleString('en')} tokens.`
  const about = Math.max(1, Math.round(over))
  const share = (100 * over) / Math.max(1, lengths.counted)
  return `About ${about.toLocaleString('en')} of ${of} counted samples (${share < 0.1 ? 'under 0.1' : share.toFixed(1)} %) are longer than ${limit.toLocaleString('en')} tokens and would be left out.`
}
