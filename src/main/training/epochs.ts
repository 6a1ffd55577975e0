/** An endless sequence over a list: epochs follow one another, each in an order of its own. */
import { seeded } from '../../shared/random.ts'

/** The n-th item, counted from 0; `label` keeps the orders of different lists of a run apart. Asked in order, it shuffles once an epoch. */
export function epochs<T>(items: readonly T[], seed: number, label: string): (n: number) => T {
  let known: { epoch: number; order: readonly T[] } | null = null
  return (n) => {
    const epoch = Math.floor(n / items.length)
    if (known?.epoch !== epoch) known = { epoch, order: seeded(seed, label, epoch).shuffle(items) }
    return known.order[n % items.length]!
  }
}
