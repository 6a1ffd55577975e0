/** Learning rate over optimizer steps: a warm-up, then constant, linear or cosine. Pure: a resumed run needs only its step. */

export type Schedule = {
  /** The rate at the end of the warm-up. */
  readonly peak: number
  readonly warmupSteps: number
  /** Shape of the warm-up. The report warms SFT up linearly, RL by a cosine. */
  readonly warmup: 'linear' | 'cosine'
  /** Shape after the warm-up (`lr_scheduler_type`). */
  readonly decay: 'constant' | 'linear' | 'cosine'
  readonly totalSteps: number
}

const WARMUP: Record<Schedule['warmup'], (share: number) => number> = {
  linear: (share) => share,
  cosine: (share) => (1 - Math.cos(Math.PI * share)) / 2
}

const DECAY: Record<Schedule['decay'], (share: number) => number> = {
  constant: () => 1,
  linear: (share) => 1 - share,
  cosine: (share) => (1 + Math.cos(Math.PI * share)) / 2
}

/**
 * Rate of optimizer step `step`, counted from 0. Step `warmupSteps − 1` and the one after it have the peak; the first step is
 * not wasted on a rate of zero (Transformers' schedules do that), nor is the last. Past `totalSteps` a decay stays at zero.
 */
export function learningRate(step: number, schedule: Schedule): number {
  const { peak, warmupSteps, totalSteps } = schedule
  if (step < warmupSteps) return peak * WARMUP[schedule.warmup]((step + 1) / warmupSteps)
  const share = totalSteps > warmupSteps ? Math.min(1, (step - warmupSteps) / (totalSteps - warmupSteps)) : 0
  return peak * DECAY[schedule.decay](share)
}

/** Report, SFT: 450 warm-up steps of about 16,000. The same share of this run, at least one step. */
const SFT_SHARE = 450 / 16_000
/** Report, RL: warm-up over the first 10 of the 90 steps of the released checkpoint. */
const GRPO_STEPS = 10
const GRPO_SHARE = 10 / 90

const SCALED: Record<'sft' | 'grpo', (totalSteps: number) => number> = {
  sft: (totalSteps) => Math.round(totalSteps * SFT_SHARE),
  grpo: (totalSteps) => Math.min(GRPO_STEPS, Math.round(totalSteps * GRPO_SHARE))
}

/** Warm-up steps of a run that names none: the report's share of SFT, the report's ten of GRPO but never a larger share than its. */
export function scaledWarmup(totalSteps: number, kind: 'sft' | 'grpo'): number {
  return Math.min(totalSteps, Math.max(1, SCALED[kind](totalSteps)))
}
