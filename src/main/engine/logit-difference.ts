/** How far two programs' logits are apart along the same tokens. Pure. */

/** Raw logits [vocabulary], one row after a prompt and one after each further token. */
export type LogitRows = readonly Float32Array[]

export type LogitDifference = {
  readonly tokens: number
  /** How many tokens both would choose greedily, led along the first one's answer. */
  readonly sameTokens: number
  /** How many greedy tokens of each answer are the same before the first that differs; one number per answer. */
  readonly sameFirst: readonly number[]
  /** |Δlogit| over all tokens and the whole vocabulary. */
  readonly largest: number
  readonly mean: number
  /** KL(first ‖ second) in nats per token. */
  readonly meanKl: number
  readonly largestKl: number
  /** Mean over tokens of the standard deviation of the first one's logits over the vocabulary. */
  readonly spread: number
}

/** Compares answer by answer, row by row. Not finite logits are infinitely far apart. */
export function logitDifference(ours: readonly LogitRows[], theirs: readonly LogitRows[]): LogitDifference {
  const pairs = pairsOf(ours, theirs)
  const rows = pairs.flat().map(([a, b]) => rowDifference(a, b))
  const same = pairs.map((answer) => answer.map(([a, b]) => likeliest(a) === likeliest(b)))
  const mean = (of: (row: RowDifference) => number): number => rows.reduce((sum, row) => sum + of(row), 0) / rows.length
  return {
    tokens: rows.length,
    sameTokens: same.flat().filter(Boolean).length,
    sameFirst: same.map((answer) => (answer.includes(false) ? answer.indexOf(false) : answer.length)),
    largest: Math.max(...rows.map(({ largest }) => largest)),
    mean: mean((row) => row.mean),
    meanKl: mean(({ kl }) => kl),
    largestKl: Math.max(...rows.map(({ kl }) => kl)),
    spread: mean(({ spread }) => spread)
  }
}

/** Whether somewhere the greedy tokens differ although the first one's logits of the two are more than `tie` apart. */
export function isDifferent(ours: readonly LogitRows[], theirs: readonly LogitRows[], tie: number): boolean {
  return pairsOf(ours, theirs)
    .flat()
    .some(([a, b]) => !(a[likeliest(a)]! - a[likeliest(b)]! <= tie))
}

/**
 * How much of the way from `base` to `ours` the logits `theirs` have gone: the least-squares β of theirs − base = β (ours −
 * base) + noise, every row's mean taken off, since it changes no probability. 1: all of it, 0: nothing, 2: twice. Where
 * `ours` and `base` come from one kernel with noise of its own (quantised activations), β is drawn to ½: with x the noise's
 * share of |ours − base|², all of it shows as 1 − x/2 and nothing as x/2. Null where `ours` is `base`.
 */
export function carriedShare(
  ours: readonly LogitRows[],
  base: readonly LogitRows[],
  theirs: readonly LogitRows[]
): number | null {
  let [along, squares] = [0, 0]
  ours.forEach((rows, i) =>
    rows.forEach((row, j) => {
      const [from, to] = [base[i]![j]!, theirs[i]![j]!]
      const [meanRow, meanFrom, meanTo] = [row, from, to].map((it) => it.reduce((sum, x) => sum + x, 0) / it.length)
      for (let token = 0; token < row.length; token++) {
        const learned = row[token]! - from[token]! - meanRow! + meanFrom!
        along += learned * (to[token]! - from[token]! - meanTo! + meanFrom!)
        squares += learned * learned
      }
    })
  )
  return squares === 0 ? null : along / squares
}

function pairsOf(
  ours: readonly LogitRows[],
  theirs: readonly LogitRows[]
): (readonly [Float32Array, Float32Array])[][] {
  return ours.map((rows, i) =>
    rows.map((row, j) => {
      const other = theirs[i]![j]!
      if (row.length !== other.length) throw new Error(`${row.length} logits and ${other.length}`)
      return [row, other] as const
    })
  )
}

type RowDifference = { readonly largest: number; readonly mean: number; readonly kl: number; readonly spread: number }

function rowDifference(a: Float32Array, b: Float32Array): RowDifference {
  const [ofA, ofB] = [logSum(a), logSum(b)]
  let [largest, sum, kl, total, squares] = [0, 0, 0, 0, 0]
  for (let token = 0; token < a.length; token++) {
    const apart = Math.abs(a[token]! - b[token]!)
    largest = Math.max(largest, Number.isNaN(apart) ? Infinity : apart)
    sum += apart
    const logprob = a[token]! - ofA
    kl += Math.exp(logprob) * (logprob - (b[token]! - ofB))
    total += a[token]!
    squares += a[token]! ** 2
  }
  const mean = total / a.length
  return {
    largest,
    mean: sum / a.length,
    kl: Number.isNaN(kl) ? Infinity : Math.max(0, kl),
    spread: Math.sqrt(Math.max(0, squares / a.length - mean ** 2))
  }
}

function logSum(row: Float32Array): number {
  const most = row.reduce((a, b) => Math.max(a, b), -Infinity)
  return most + Math.log(row.reduce((sum, logit) => sum + Math.exp(logit - most), 0))
}

/** The first of the largest. */
export function likeliest(row: Float32Array): number {
  let best = 0
  for (let token = 1; token < row.length; token++) if (row[token]! > row[best]!) best = token
  return best
}
