/** Accuracy by response length, as curves. Pure. */

export type LengthPoint = {
  readonly policy: string
  readonly length: number
  readonly verdict: 'correct' | 'wrong' | 'unreadable'
}
export type LengthCurve = {
  readonly policy: string
  /** Mean length of a bin, tokens. */
  readonly x: readonly number[]
  /** Share of right answers in it. */
  readonly y: readonly number[]
  /** Share of the policy's answers in it. */
  readonly weight: readonly number[]
  readonly counts: readonly number[]
}

/** Bins of equally many answers, so that no point stands on three. */
const BINS = 8
const LEAST = 12

export function lengthCurves(points: readonly LengthPoint[]): LengthCurve[] {
  const policies = [...new Set(points.map((point) => point.policy))]
  return policies.map((policy) => {
    const own = points.filter((point) => point.policy === policy).sort((a, b) => a.length - b.length)
    const bins = Math.max(1, Math.min(BINS, Math.floor(own.length / LEAST)))
    const groups = Array.from({ length: bins }, (_, i) =>
      own.slice(Math.floor((i * own.length) / bins), Math.floor(((i + 1) * own.length) / bins))
    ).filter((group) => group.length > 0)
    return {
      policy,
      x: groups.map((group) => group.reduce((sum, point) => sum + point.length, 0) / group.length),
      y: groups.map((group) => group.filter((point) => point.verdict === 'correct').length / group.length),
      weight: groups.map((group) => group.length / own.length),
      counts: groups.map((group) => group.length)
    }
  })
}
