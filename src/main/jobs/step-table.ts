/** The table of steps: one row a step, its columns chosen by what the first step reports, the head said again at times. */
import type { Metrics, RunEvent } from '../../shared/event.ts'

type Step = Extract<RunEvent, { kind: 'step' }>
type Column = {
  readonly title: string
  /** Undefined where the step does not report it. */
  readonly cell: (metrics: Metrics) => string | undefined
}

/** TRL's names first; several where SFT and GRPO differ. */
const number = (title: string, keys: readonly string[], digits: number): Column => ({
  title,
  cell: (metrics) =>
    keys
      .map((key) => metrics[key])
      .find((found) => found !== undefined)
      ?.toFixed(digits)
})

/** The phases of a GRPO step, in their order: `timing_s/<phase>` of its metrics. */
const PHASES = ['prefill', 'decode', 'sample', 'score', 'train', 'sync'] as const

/** What share of the phases' time each of them took. */
function phaseShares(metrics: Metrics): string | undefined {
  const seconds = PHASES.map((phase) => metrics[`timing_s/${phase}`])
  if (seconds.includes(undefined)) return undefined
  const total = seconds.reduce<number>((sum, it) => sum + it!, 0)
  return seconds.map((it) => (total > 0 ? (100 * it!) / total : 0).toFixed(0)).join('/')
}

const COLUMNS: readonly Column[] = [
  number('loss', ['loss', 'policy_loss'], 4),
  number('reward', ['reward'], 3),
  number('accuracy', ['accuracy', 'rewards/accuracy/mean', 'mean_token_accuracy'], 3),
  number('length', ['completions/mean_length', 'mean_length'], 1),
  number('entropy', ['entropy'], 3),
  number('kl', ['kl'], 4),
  number('grad', ['grad_norm'], 3),
  number('tok/s', ['tokens_per_second', 'tokens_per_second/train'], 0),
  number('roll/s', ['tokens_per_second/rollout'], 0),
  number('seconds', ['step_time'], 1),
  { title: `% ${PHASES.join('/')}`, cell: phaseShares }
]
const HEAD_EVERY = 25
const WIDTH = 9

/** Makes a table that prints rows as steps come. */
export function createStepTable(): { rows: (step: Step) => string[] } {
  let columns: readonly Column[] | null = null
  let printed = 0
  return {
    rows: ({ step, of, metrics }) => {
      columns ??= COLUMNS.filter(({ cell }) => cell(metrics) !== undefined)
      const line = (first: string, cells: readonly string[]): string =>
        [first, ...cells].map((cell, i) => cell.padStart(Math.max(WIDTH, columns![i - 1]?.title.length ?? 0))).join(' ')
      const head = printed++ % HEAD_EVERY === 0 ? [line('step', columns.map(({ title }) => title))] : [] // prettier-ignore
      return [...head, line(`${step}/${of}`, columns.map(({ cell }) => cell(metrics) ?? '-'))] // prettier-ignore
    }
  }
}
