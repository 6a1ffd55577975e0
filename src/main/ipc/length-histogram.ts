/** Token lengths as a histogram with edges that can be read. */
export type LengthHistogram = {
  edges: number[]
  counts: number[]
  longest: number
  median: number
  contextLength: number
  counted: number
}

const MOST_BINS = 40
const STEPS = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16_384] as const

/** `edges` are one more than `counts`; bin i holds lengths from edges[i] up to but not edges[i + 1]. */
export function histogramOf(lengths: readonly number[], contextLength: number): LengthHistogram {
  const sorted = [...lengths].sort((a, b) => a - b)
  const longest = sorted.at(-1) ?? 0
  const width =
    STEPS.find((step) => Math.floor(longest / step) + 1 <= MOST_BINS) ?? Math.ceil((longest + 1) / MOST_BINS)
  const bins = Math.floor(longest / width) + 1
  const counts = new Array<number>(bins).fill(0)
  for (const length of sorted) counts[Math.floor(length / width)]!++
  const middle = sorted.length / 2
  const median = sorted.length === 0 ? 0 : (sorted[Math.ceil(middle) - 1]! + sorted[Math.floor(middle)]!) / 2
  return {
    edges: Array.from({ length: bins + 1 }, (_, i) => i * width),
    counts,
    longest,
    median,
    contextLength,
    counted: sorted.length
  }
}
