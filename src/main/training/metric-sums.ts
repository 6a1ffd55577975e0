/**
 * Metrics that can be added up over the parts of a batch. A mean is kept as sum and weight until the batch is complete, so
 * the numbers of a step do not depend on how it was cut into micro-batches.
 */
import type { Metrics } from '../../shared/event.ts'

export type MetricSum =
  | { readonly how: 'mean'; readonly sum: number; readonly weight: number }
  | { readonly how: 'sum'; readonly sum: number }
  | { readonly how: 'min' | 'max'; readonly value: number }

/** Metric name (TRL's where it has one) to what is known of it so far. */
export type MetricSums = Readonly<Record<string, MetricSum>>

export const mean = (sum: number, weight: number): MetricSum => ({ how: 'mean', sum, weight })
export const total = (sum: number): MetricSum => ({ how: 'sum', sum })
export const lowest = (value: number): MetricSum => ({ how: 'min', value })
export const highest = (value: number): MetricSum => ({ how: 'max', value })

function merge(name: string, a: MetricSum, b: MetricSum): MetricSum {
  if (a.how === 'mean' && b.how === 'mean') return mean(a.sum + b.sum, a.weight + b.weight)
  if (a.how === 'sum' && b.how === 'sum') return total(a.sum + b.sum)
  if (a.how === 'min' && b.how === 'min') return lowest(Math.min(a.value, b.value))
  if (a.how === 'max' && b.how === 'max') return highest(Math.max(a.value, b.value))
  throw new Error(`metric ${name} is a ${a.how} in one part and a ${b.how} in another`)
}

/** The metrics of a batch from those of its parts. Names that only some parts have are kept. */
export function mergeMetrics(parts: readonly MetricSums[]): MetricSums {
  const merged: Record<string, MetricSum> = {}
  for (const part of parts) {
    for (const [name, sum] of Object.entries(part)) {
      const before = merged[name]
      merged[name] = before ? merge(name, before, sum) : sum
    }
  }
  return merged
}

/** A complete batch's sums as one observation each: merged with those of other batches they become their mean. */
export function totalsAsMeans(sums: MetricSums): MetricSums {
  return Object.fromEntries(
    Object.entries(sums).map(([name, entry]) => [name, entry.how === 'sum' ? mean(entry.sum, 1) : entry])
  )
}

/** Plain numbers for a `step` event. Means without weight and extremes of nothing are left out. */
export function readMetrics(sums: MetricSums): Metrics {
  const metrics: Record<string, number> = {}
  for (const [name, entry] of Object.entries(sums)) {
    if (entry.how === 'mean') {
      if (entry.weight > 0) metrics[name] = entry.sum / entry.weight
    } else if (entry.how === 'sum') metrics[name] = entry.sum
    else if (Math.abs(entry.value) !== Infinity) metrics[name] = entry.value
  }
  return metrics
}
