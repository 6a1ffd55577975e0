/** The table of steps: one row a step, its columns chosen by what the first step reports, the head said again at times. */
import type { Metrics, RunEvent } from '../../shared/event.ts'

type Step = Extract<RunEvent, { kind: 'step' }>
type Column = { readonly title: string; readonly keys: readonly string[]; readonly digits: number }

/** TRL's names first; several where SFT and GRPO differ. */
const COLUMNS: readonly Column[] = [
  { title: 'loss', keys: ['loss', 'policy_loss'], digits: 4 },
  { title: 'reward', keys: ['reward'], digits: 3 },
  { title: 'accuracy', keys: ['accuracy', 'rewards/accuracy/mean', 'mean_token_accuracy'], digits: 3 },
  { title: 'length', keys: ['completions/mean_length', 'mean_length'], digits: 1 },
  { title: 'entropy', keys: ['entropy'], digits: 3 },
  { title: 'kl', keys: ['kl'], digits: 4 },
  { title: 'grad', keys: ['grad_norm'], digits: 3 },
  { title: 'tok/s', keys: ['tokens_per_second', 'tokens_per_second/train'], digits: 0 },
  { title: 'roll/s', keys: ['tokens_per_second/rollout'], digits: 0 }
]
const HEAD_EVERY = 25
const WIDTH = 9

/** Makes a table that prints rows as steps come. */
export function createStepTable(): { rows: (step: Step) => string[] } {
  let columns: readonly Column[] | null = null
  let printed = 0
  return {
    rows: ({ step, of, metrics }) => {
      columns ??= COLUMNS.filter((column) => value(column, metrics) !== undefined)
      const head =
        printed++ % HEAD_EVERY === 0
          ? [
              line(
                'step',
                columns.map((column) => column.title)
              )
            ]
          : []
      const cells = columns.map((column) => value(column, metrics)?.toFixed(column.digits) ?? '-')
      return [...head, line(`${step}/${of}`, cells)]
    }
  }
}

const value = ({ keys }: Column, metrics: Metrics): number | undefined =>
  keys.map((key) => metrics[key]).find((found) => found !== undefined)

const line = (first: string, cells: readonly string[]): string =>
  [first.padStart(WIDTH), ...cells.map((cell) => cell.padStart(WIDTH))].join(' ')
