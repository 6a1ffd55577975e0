/** Rewards of one group as a person types them: numbers with spaces, commas or lines between. */

export function readRewards(text: string): { rewards: readonly number[] } | { problem: string } {
  const words = text.split(/[\s,;]+/).filter((word) => word !== '')
  if (words.length === 0) return { problem: 'Write the rewards of one group, for example 1 1 -0.5 -1.' }
  if (words.length > 256) return { problem: `${words.length} rewards are too many: a group has 256 at most.` }
  const bad = words.find((word) => !Number.isFinite(Number(word.replace('−', '-'))))
  if (bad !== undefined) return { problem: `“${bad}” is not a number.` }
  return { rewards: words.map((word) => Number(word.replace('−', '-'))) }
}
