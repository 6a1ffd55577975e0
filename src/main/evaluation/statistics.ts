/**
 * Honest statistics over tasks × runs. A task is the unit that was drawn at random: runs of one task are not independent
 * of each other, so intervals resample tasks and tests compare task means. Random parts take a seeded source.
 * Source of the protocol: arXiv 2504.21318, evaluation (pass@1 over repeated runs with its standard deviation), and the
 * aggregation rules of Eureka ML Insights. `sign-flip.ts` holds the paired test's distribution.
 */
import { pText } from '../../shared/p-text.ts'
import type { Random } from '../../shared/random.ts'
import { signFlipTest } from './sign-flip.ts'

/** Tasks × runs: was the answer correct? Every task has at least one run; runs of one index belong together. */
export type Outcomes = readonly (readonly boolean[])[]

export type Interval = {
  readonly low: number
  readonly high: number
  readonly level: number
  readonly method: 'wilson' | 'bootstrap'
}

export const average = (values: readonly number[]): number =>
  values.reduce((sum, value) => sum + value, 0) / values.length

/** Sample standard deviation (divisor n − 1); 0 for fewer than two values. */
export function standardDeviation(values: readonly number[]): number {
  if (values.length < 2) return 0
  const middle = average(values)
  return Math.sqrt(values.reduce((sum, value) => sum + (value - middle) ** 2, 0) / (values.length - 1))
}

/** Share of correct runs of each task, 0…1. */
export const taskMeans = (outcomes: Outcomes): number[] => outcomes.map((runs) => average(runs.map(Number)))

/** Accuracy of each run over the tasks it has. */
export function runAccuracies(outcomes: Outcomes): number[] {
  const runs = Math.max(...outcomes.map((task) => task.length))
  return Array.from({ length: runs }, (_, run) =>
    average(outcomes.flatMap((task) => (run < task.length ? Number(task[run]) : [])))
  )
}

export type PassAt1 = {
  /** Mean over tasks of their share of correct runs, 0…1. */
  readonly mean: number
  /** Sample standard deviation of the runs' accuracies; undefined for a single run, which has none. */
  readonly deviation: number | undefined
  readonly perRun: readonly number[]
  readonly tasks: number
  readonly runs: number
}

/** Mean pass@1 over runs with the standard deviation across runs (the report's headline numbers). */
export function passAt1(outcomes: Outcomes): PassAt1 {
  if (outcomes.length === 0 || outcomes.some((runs) => runs.length === 0)) throw new RangeError('no runs to average')
  const perRun = runAccuracies(outcomes)
  return {
    mean: average(taskMeans(outcomes)),
    deviation: perRun.length > 1 ? standardDeviation(perRun) : undefined,
    perRun,
    tasks: outcomes.length,
    runs: perRun.length
  }
}

/** Φ(x), by its series around 0; |x| up to about 8. */
export function normalCdf(x: number): number {
  let term = x
  let sum = x
  for (let n = 1; Math.abs(term) > 1e-17 * Math.abs(sum) && n < 500; n++) {
    term *= (x * x) / (2 * n + 1)
    sum += term
  }
  return 0.5 + (sum * Math.exp((-x * x) / 2)) / Math.sqrt(2 * Math.PI)
}

/** The x with Φ(x) = share, by halving. */
function normalQuantile(share: number): number {
  let [low, high] = [-8, 8]
  for (let i = 0; i < 60; i++) {
    const middle = (low + high) / 2
    if (normalCdf(middle) < share) low = middle
    else high = middle
  }
  return (low + high) / 2
}

/** Wilson's score interval of a share of independent trials (E. B. Wilson 1927); never leaves [0, 1], works at 0 and n. */
export function wilson(successes: number, trials: number, level = 0.95): Interval {
  const z = normalQuantile((1 + level) / 2)
  const share = successes / trials
  const middle = share + (z * z) / (2 * trials)
  const half = z * Math.sqrt((share * (1 - share)) / trials + (z * z) / (4 * trials * trials))
  const scale = 1 + (z * z) / trials
  return {
    low: Math.max(0, (middle - half) / scale),
    high: Math.min(1, (middle + half) / scale),
    level,
    method: 'wilson'
  }
}

/** Percentile bootstrap of a mean: values (one per task) are drawn with replacement `samples` times. */
export function bootstrapMean(values: readonly number[], random: Random, level = 0.95, samples = 4000): Interval {
  const drawn = new Uint32Array(values.length)
  const from = Float64Array.from(values)
  const means = new Float64Array(samples)
  for (let sample = 0; sample < samples; sample++) {
    random.fillBelow(drawn, drawn.length)
    means[sample] = sumAt(from, drawn) / drawn.length
  }
  means.sort()
  const at = (share: number): number => {
    const place = share * (samples - 1)
    const below = Math.floor(place)
    return means[below]! + (place - below) * (means[Math.min(samples - 1, below + 1)]! - means[below]!)
  }
  return { low: at((1 - level) / 2), high: at((1 + level) / 2), level, method: 'bootstrap' }
}

function sumAt(values: Float64Array, places: Uint32Array): number {
  let sum = 0
  for (let i = 0; i < places.length; i++) sum += values[places[i]!]!
  return sum
}

/**
 * Confidence interval of pass@1. One run: Wilson. Several: cluster bootstrap over tasks. Where all tasks have the same mean a
 * bootstrap would claim certainty; there Wilson with the tasks as trials is given, the most cautious reading.
 */
export function accuracyInterval(outcomes: Outcomes, random: Random, level = 0.95): Interval {
  const means = taskMeans(outcomes)
  const same = means.every((mean) => mean === means[0])
  const single = outcomes.every((runs) => runs.length === 1)
  if (single || same) return wilson(average(means) * means.length, means.length, level)
  return bootstrapMean(means, random, level)
}

export type PairedTest = {
  /** Mean of b − a over tasks, −1…1. */
  readonly difference: number
  /** Bootstrap over tasks. */
  readonly interval: Interval
  /** Two-sided p-value of "the two are exchangeable task by task". */
  readonly p: number
  readonly method: 'exact' | 'monte carlo'
  /** Cohen's d of paired differences: mean over standard deviation; undefined where all differences are equal. */
  readonly effect: number | undefined
  readonly tasks: number
}

/**
 * Paired permutation test of two policies on the same tasks in the same order. Under the null hypothesis the sign of each
 * task's difference is a coin; the p-value is the share of all 2^tasks sign patterns whose mean difference is as far from zero.
 * It is exact whatever the number of tasks as long as run counts are ordinary, else Monte Carlo over 20,000 patterns.
 */
export function pairedTest(a: Outcomes, b: Outcomes, random: Random): PairedTest {
  if (a.length !== b.length || a.length === 0) throw new RangeError(`paired test of ${a.length} and ${b.length} tasks`)
  const counts = (outcomes: Outcomes): readonly (readonly [correct: number, runs: number])[] =>
    outcomes.map((runs) => [runs.filter(Boolean).length, runs.length])
  const { p, method } = signFlipTest(counts(a), counts(b), random)
  const [before, after] = [taskMeans(a), taskMeans(b)]
  const differences = after.map((mean, i) => mean - before[i]!)
  const spread = standardDeviation(differences)
  const difference = average(differences)
  return {
    difference,
    interval: bootstrapMean(differences, random),
    p,
    method,
    effect: spread > 1e-12 ? difference / spread : undefined,
    tasks: a.length
  }
}

/** Does the test tell the two apart, in words? `alpha` is the share of false alarms that is put up with. */
export function distinguishable(
  test: PairedTest,
  a: string,
  b: string,
  alpha = 0.05
): { readonly yes: boolean; readonly text: string } {
  const points = (share: number): string => (100 * share).toFixed(1).replace('-', '−')
  const evidence = `${points(test.interval.low)} to ${points(test.interval.high)} points at ${100 * test.interval.level} %, ${pText(test.p)}, ${test.tasks} tasks`
  const by = points(Math.abs(test.difference))
  if (test.p < alpha)
    return {
      yes: true,
      text: `${b} is ${by} points ${test.difference > 0 ? 'better' : 'worse'} than ${a} (${evidence}).`
    }
  return { yes: false, text: `${b} is not distinguishable from ${a}: ${points(test.difference)} points (${evidence}).` }
}
