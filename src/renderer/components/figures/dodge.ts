/** Points of a strip that would lie on each other, moved aside: a strip plot's one piece of arithmetic. Pure. */

/**
 * For values along an axis, the offset across it in units of a point's width, so that no two points nearer than
 * `near` (in the values' unit) share a place. Order of the values does not matter; equal ones spread symmetrically.
 */
export function dodge(values: readonly number[], near: number): number[] {
  const order = values.map((_, i) => i).sort((a, b) => values[a]! - values[b]!)
  const offsets = new Array<number>(values.length).fill(0)
  const placed: { value: number; offset: number }[] = []
  for (const i of order) {
    const value = values[i]!
    const taken = new Set(placed.filter((one) => value - one.value < near).map((one) => one.offset))
    let offset = 0
    while (taken.has(offset)) offset = offset > 0 ? -offset : -offset + 1
    offsets[i] = offset
    placed.push({ value, offset })
  }
  return offsets
}
