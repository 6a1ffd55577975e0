/** Which curves share a chart, under which title and in which unit: a table. And the curves of a run's events. */
import type { RunEvent } from '../../../shared/event.ts'
import type { Curve } from './data.ts'

export type Chart = { readonly title: string; readonly unit: string | undefined; readonly series: readonly Curve[] }

type Rule = {
  readonly title: string
  /** Metric names; a group, where there is one, is the series' name. */
  readonly match: RegExp
  readonly unit?: string
}

/** Metrics of `step` events by their name, of `evaluation` events as `eval/<name>`. Earlier rules win. */
const RULES: readonly Rule[] = [
  { title: 'Held-out accuracy', match: /^eval\/(?:(.*)\/)?accuracy$/, unit: 'share' },
  {
    title: 'Response length by verdict',
    match: /^(?:eval\/)?completions\/mean_length\/(correct|wrong|unreadable)$/,
    unit: 'tokens'
  },
  { title: 'Response length', match: /^(?:eval\/)?completions\/(mean|mean_terminated)_length$/, unit: 'tokens' },
  { title: 'Reward', match: /^reward$/ },
  { title: 'Parts of the reward, before their weights', match: /^rewards\/(.+)\/mean$/ },
  { title: 'Cut off at the limit', match: /^completions\/clipped_ratio$/, unit: 'share' },
  { title: 'Groups without a signal', match: /^frac_reward_zero_std$/, unit: 'share' },
  { title: 'Entropy', match: /^entropy$/, unit: 'nats' },
  { title: 'KL', match: /^kl$/, unit: 'nats' },
  { title: 'Gradient norm', match: /^grad_norm$/ },
  {
    title: 'Decoder against trainer, |Δlogprob|',
    match: /^sampling\/sampling_logp_difference\/(?:mean)$/,
    unit: 'nats'
  },
  { title: 'Clipped ratios', match: /^clip_ratio\/(low|high)_mean$/, unit: 'share' },
  { title: 'Loss', match: /^(?:(eval)\/)?loss$/, unit: 'nats' },
  { title: 'Token accuracy', match: /^(?:(eval)\/)?mean_token_accuracy$/, unit: 'share' },
  { title: 'Seconds of a step', match: /^timing_s\/(prefill|decode|sample|score|train|sync)$/, unit: 's' },
  { title: 'Learning rate', match: /^learning_rate$/ }
]

/** The charts of one stage in the table's order, then one for each name that the table does not know. */
export function chartsOf(curves: readonly Curve[]): Chart[] {
  const drawn = curves.filter((curve) => curve.points.length > 0)
  const known = RULES.map((rule): Chart => {
    const series = drawn.filter((curve) => ruleOf(curve.name) === rule)
    return { title: rule.title, unit: series[0]?.unit ?? rule.unit, series }
  })
  const others = drawn.filter((curve) => !ruleOf(curve.name))
  const rest = [...new Set(others.map((curve) => curve.name))].map((name): Chart => {
    const series = others.filter((curve) => curve.name === name)
    return { title: name, unit: series[0]!.unit, series }
  })
  return [...known, ...rest].filter((chart) => chart.series.length > 0)
}

const ruleOf = (name: string): Rule | undefined => RULES.find((rule) => rule.match.test(name))

/** What a series is called inside its chart: `correct` rather than `completions/mean_length/correct`. */
export function seriesName(curve: Curve): string {
  const group = ruleOf(curve.name)?.match.exec(curve.name)?.[1]
  return group?.replaceAll('_', ' ') ?? (curve.name.startsWith('eval/') ? 'held-out' : curve.name)
}

/** The curves of a run's log that the table knows. Steps that were logged twice keep the later value. */
export function curvesFromEvents(stage: string, events: readonly RunEvent[]): Curve[] {
  const found = new Map<string, Map<number, number>>()
  for (const event of events) {
    if (event.kind !== 'step' && event.kind !== 'evaluation') continue
    for (const [metric, value] of Object.entries(event.metrics)) {
      const name = event.kind === 'evaluation' ? `eval/${metric}` : metric
      if (!ruleOf(name)) continue
      const points = found.get(name) ?? new Map<number, number>()
      found.set(name, points.set(event.step, value))
    }
  }
  return [...found].map(([name, points]) => ({ stage, name, points: [...points].sort(([a], [b]) => a - b) }))
}
