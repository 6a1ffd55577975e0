/** Pure arithmetic on metric series: smoothing, joining for a chart, thinning. Nothing here knows a metric by name. */

/** Points of one curve. Plain arrays that grow; whoever holds them says by a version number that they grew. */
export type Points = { readonly step: readonly number[]; readonly value: readonly number[] }

/**
 * Exponential moving average, corrected for its start (as TensorBoard does it): weight 0 changes nothing, 0.99 shows
 * only the trend.
 */
export function smoothed(value: readonly number[], weight: number): number[] {
  if (weight <= 0) return [...value]
  let sum = 0
  let norm = 0
  return value.map((v) => {
    sum = weight * sum + (1 - weight) * v
    norm = weight * norm + (1 - weight)
    return sum / norm
  })
}

/** A curve up to each of some steps, then after the last of them: one stretch more than breaks, empty ones among them. */
export function stretches({ step, value }: Points, breaks: readonly number[] = []): Points[] {
  const cuts = breaks.map((after) => {
    const at = step.findIndex((s) => s > after)
    return at < 0 ? step.length : at
  })
  return [...cuts, step.length].map((to, i) => {
    const from = cuts[i - 1] ?? 0
    return { step: step.slice(from, to), value: value.slice(from, to) }
  })
}

/** One table of x and a column per curve, null where a curve has no point: what uPlot draws. */
export function joined(curves: readonly Points[]): [number[], ...(number | null)[][]] {
  if (curves.length === 1) return [[...curves[0]!.step], [...curves[0]!.value]]
  const x = [...new Set(curves.flatMap(({ step }) => step))].sort((a, b) => a - b)
  const at = new Map(x.map((step, i) => [step, i]))
  const columns = curves.map(({ step, value }) => {
    const column = new Array<number | null>(x.length).fill(null)
    step.forEach((s, i) => (column[at.get(s)!] = value[i]!))
    return column
  })
  return [x, ...columns]
}

/** At most about `buckets × 2` points that keep each bucket's lowest and highest: peaks survive. */
export function thinned(points: Points, buckets: number): Points {
  const n = points.step.length
  if (n <= buckets * 2) return points
  const step: number[] = []
  const value: number[] = []
  for (let b = 0; b < buckets; b++) {
    const from = Math.floor((b * n) / buckets)
    const to = Math.floor(((b + 1) * n) / buckets)
    let low = from
    let high = from
    for (let i = from; i < to; i++) {
      if (points.value[i]! < points.value[low]!) low = i
      if (points.value[i]! > points.value[high]!) high = i
    }
    for (const i of low === high ? [low] : [Math.min(low, high), Math.max(low, high)]) {
      step.push(points.step[i]!)
      value.push(points.value[i]!)
    }
  }
  return { step, value }
}
