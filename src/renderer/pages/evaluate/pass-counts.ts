/** How many tasks were answered right by 0, 1, … k of their runs. */
export function passCounts(items: readonly { passed: number; of: number }[], k: number): number[] {
  const counts = new Array<number>(k + 1).fill(0)
  for (const { passed } of items) counts[Math.min(passed, k)]! += 1
  return counts
}
