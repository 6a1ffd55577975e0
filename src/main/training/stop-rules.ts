/** When to end a run that has gone wrong: a bound broken for several steps on end, said in plain words. */
import type { Metrics } from '../../shared/event.ts'
import type { GrpoRecipe } from '../../shared/recipe.ts'

/** One bad step is noise; five on end are a trend. Ours. */
const STEPS_ON_END = 5

type Rule = {
  readonly metric: string
  readonly broken: (value: number, recipe: GrpoRecipe) => boolean
  readonly words: string
}

const RULES: Readonly<Record<string, Rule>> = {
  entropy: {
    metric: 'entropy',
    broken: (value, recipe) => value < recipe.stop_entropy,
    words: 'the policy has collapsed: its entropy stayed under stop_entropy'
  },
  clipped: {
    metric: 'completions/clipped_ratio',
    broken: (value, recipe) => value > recipe.stop_clipped,
    words: 'nearly all responses are cut off at max_completion_length: their share stayed over stop_clipped'
  },
  kl: {
    metric: 'kl',
    broken: (value, recipe) => value > recipe.stop_kl,
    words: 'the policy has run away from its reference: the KL divergence stayed over stop_kl'
  }
}

/** For how many steps on end each rule has been broken. */
export type Watched = Readonly<Record<string, number>>

export function watch(before: Watched, recipe: GrpoRecipe, metrics: Metrics): Watched {
  return Object.fromEntries(
    Object.entries(RULES).map(([name, { metric, broken }]) => {
      const value = metrics[metric]
      return [name, value !== undefined && broken(value, recipe) ? (before[name] ?? 0) + 1 : 0]
    })
  )
}

/** Why the run should end, or null. */
export function stopReason(watched: Watched): string | null {
  const broken = Object.entries(RULES).find(([name]) => (watched[name] ?? 0) >= STEPS_ON_END)
  return broken ? `${broken[1].words} for ${STEPS_ON_END} steps` : null
}
