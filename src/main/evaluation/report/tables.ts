/** The columns of the report's tables, once for HTML and Markdown. */
import { pText } from '../../../shared/p-text.ts'
import { fixed, number, points } from './format.ts'
import type { HeadlineRow, TestRow } from './summary.ts'

export type Column<Row> = {
  readonly title: string
  readonly unit?: string
  readonly numeric: boolean
  readonly cell: (row: Row) => string
}

const range = (low: string, high: string): string => `${low} to ${high}`
const plain = (share: number): string => fixed(100 * share, 1)

const column = <Row>(shown: boolean, title: string, cell: (row: Row) => string, unit?: string): Column<Row>[] =>
  shown ? [{ title, numeric: true, cell, ...(unit !== undefined && { unit }) }] : []

/** The deviation is left out where there is one run. */
export function headlineColumns(rows: readonly HeadlineRow[]): Column<HeadlineRow>[] {
  const repeated = rows.some((row) => row.runs > 1)
  return [
    { title: 'Taskset', numeric: false, cell: (row) => row.taskset },
    { title: 'Stage', numeric: false, cell: (row) => row.stage },
    ...column(true, 'Accuracy', (row: HeadlineRow) => plain(row.mean), '%'),
    ...column(
      true,
      '95 % interval',
      (row: HeadlineRow) => range(plain(row.interval.low), plain(row.interval.high)),
      '%'
    ),
    ...column(
      repeated,
      'sd',
      (row: HeadlineRow) => (row.deviation === undefined ? '–' : plain(row.deviation)),
      'points'
    ),
    ...column(true, 'Length', (row: HeadlineRow) => number(row.meanLength), 'tokens, mean'),
    ...column(true, 'Cut off', (row: HeadlineRow) => plain(row.cutOff), '% of runs'),
    ...column(true, 'Unreadable', (row: HeadlineRow) => plain(row.unreadable), '% of runs'),
    ...column(true, 'Tasks × runs', (row: HeadlineRow) => `${row.tasks} × ${row.runs}`)
  ]
}

/** What several tries are worth, and how long answers of each verdict are. Columns that no row could fill are left out. */
export function answerColumns(rows: readonly HeadlineRow[]): Column<HeadlineRow>[] {
  const repeated = rows.some((row) => row.runs > 1)
  const voted = repeated && rows.every((row) => row.ofRuns.majority !== undefined)
  const runs = new Set(rows.map((row) => row.runs)).size === 1 ? String(rows[0]?.runs) : 'all'
  return [
    { title: 'Taskset', numeric: false, cell: (row) => row.taskset },
    { title: 'Stage', numeric: false, cell: (row) => row.stage },
    ...column(repeated, `Worst of ${runs}`, (row: HeadlineRow) => plain(row.ofRuns.worst), '%'),
    ...column(voted, `Majority of ${runs}`, (row: HeadlineRow) => plain(row.ofRuns.majority!), '%'),
    ...column(repeated, `Best of ${runs}`, (row: HeadlineRow) => plain(row.ofRuns.best), '%'),
    ...(['correct', 'wrong', 'unreadable'] as const).flatMap((verdict) =>
      column(
        rows.some((row) => row.lengthByVerdict[verdict] !== undefined),
        `Length, ${verdict}`,
        (row: HeadlineRow) => lengthOf(row, verdict),
        'tokens, mean'
      )
    )
  ]
}

function lengthOf(row: HeadlineRow, verdict: keyof HeadlineRow['lengthByVerdict']): string {
  const length = row.lengthByVerdict[verdict]
  return length === undefined ? '–' : number(length)
}

export const testColumns: readonly Column<TestRow>[] = [
  { title: 'Taskset', numeric: false, cell: (row) => row.taskset },
  { title: 'Stages', numeric: false, cell: (row) => `${row.from} → ${row.to}` },
  { title: 'Difference', unit: 'points', numeric: true, cell: (row) => points(row.test.difference) },
  {
    title: '95 % interval',
    unit: 'points',
    numeric: true,
    cell: (row) => range(points(row.test.interval.low), points(row.test.interval.high))
  },
  {
    title: 'Effect',
    unit: 'd of pairs',
    numeric: true,
    cell: (row) => (row.test.effect === undefined ? '–' : fixed(row.test.effect, 2))
  },
  { title: 'p', unit: 'two-sided', numeric: true, cell: (row) => pText(row.test.p).replace(/^p (= )?/, '') },
  {
    title: 'In words',
    numeric: false,
    cell: (row) => (row.yes ? (row.test.difference > 0 ? 'better' : 'worse') : 'not distinguishable')
  }
]

export const EXPLANATIONS = {
  headline:
    'Accuracy is pass@1, the mean over tasks and runs. Intervals resample tasks (bootstrap), as runs of one task are not independent; single runs and constant results use Wilson’s interval. sd is the sample standard deviation of the runs’ accuracies.',
  answers:
    'Best, worst and majority take all runs of a task together; a majority is the most frequent extracted answer, and a task without any answer counts as wrong.',
  tests:
    'Paired permutation test on the same tasks: how often would a difference as large arise if the two stages were exchangeable task by task? “Better” and “worse” mean p < 0.05; p-values are not corrected for the number of rows.'
} as const
