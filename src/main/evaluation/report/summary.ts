/** The derived numbers of a report, shared by its HTML and its Markdown. Seeded by names: the same data gives the same report. */
import { seeded } from '../../../shared/random.ts'
import { ofK } from '../of-k.ts'
import type { OfK, Try } from '../of-k.ts'
import { accuracyInterval, average, distinguishable, pairedTest, passAt1 } from '../statistics.ts'
import type { Interval, Outcomes, PairedTest, PassAt1 } from '../statistics.ts'
import type { ReportData, RunResult, StageResult } from './data.ts'

export type HeadlineRow = PassAt1 & {
  readonly taskset: string
  readonly stage: string
  readonly interval: Interval
  /** Tokens, all runs. */
  readonly meanLength: number
  /** Mean length of the answers of each verdict that occurs. */
  readonly lengthByVerdict: Readonly<Partial<Record<RunResult['verdict'], number>>>
  /** Shares of runs. */
  readonly cutOff: number
  readonly unreadable: number
  /** Over all runs of each task; majority is left out where answers are not known. */
  readonly ofRuns: Omit<OfK, 'majority'> & { readonly majority?: number }
}

export type TestRow = {
  readonly taskset: string
  readonly from: string
  readonly to: string
  readonly test: PairedTest
  readonly yes: boolean
  readonly words: string
}

export type Summary = {
  readonly tasksets: readonly string[]
  readonly headline: readonly HeadlineRow[]
  readonly tests: readonly TestRow[]
}

/** Throws RangeError where stages of one taskset do not hold the same tasks in the same order. */
export function summarise(data: ReportData): Summary {
  const tasksets = [...new Set(data.results.map((result) => result.taskset))]
  const of = (taskset: string): StageResult[] =>
    data.stages.flatMap((stage) => data.results.find((r) => r.stage === stage.name && r.taskset === taskset) ?? [])
  return {
    tasksets,
    headline: tasksets.flatMap((taskset) => of(taskset).map(headlineRow)),
    tests: tasksets.flatMap((taskset) => comparisons(of(taskset)).map(([from, to]) => testRow(from, to)))
  }
}

const outcomes = (result: StageResult): Outcomes => result.items.map((item) => item.runs.map((run) => run.correct))

function headlineRow(result: StageResult): HeadlineRow {
  const runs = result.items.flatMap((item) => item.runs)
  const share = (holds: (run: RunResult) => boolean): number => runs.filter(holds).length / runs.length
  const lengths = (['correct', 'wrong', 'unreadable'] as const).flatMap((verdict) => {
    const same = runs.filter((run) => run.verdict === verdict)
    return same.length > 0 ? [[verdict, average(same.map((run) => run.length))] as const] : []
  })
  return {
    ...passAt1(outcomes(result)),
    taskset: result.taskset,
    stage: result.stage,
    interval: accuracyInterval(outcomes(result), seeded('report', result.taskset, result.stage)),
    meanLength: average(runs.map((run) => run.length)),
    lengthByVerdict: Object.fromEntries(lengths),
    cutOff: share((run) => run.stop === 'length'),
    unreadable: share((run) => run.verdict === 'unreadable'),
    ofRuns: aggregates(result)
  }
}

function aggregates(result: StageResult): HeadlineRow['ofRuns'] {
  const known = result.items.every((item) => item.runs.every((run) => run.answer !== undefined))
  const tries = result.items.map((item) =>
    item.runs.map((run): Try => ({ answer: run.answer ?? null, correct: run.correct }))
  )
  const { majority, ...rest } = ofK(tries, Infinity, seeded('majority', result.taskset, result.stage))
  return known ? { ...rest, majority } : rest
}

/** Neighbours, and the last with the first where there are more than two. */
function comparisons(results: readonly StageResult[]): (readonly [StageResult, StageResult])[] {
  const neighbours = results.slice(1).map((to, i) => [results[i]!, to] as const)
  return results.length > 2 ? [...neighbours, [results[0]!, results.at(-1)!]] : neighbours
}

function testRow(from: StageResult, to: StageResult): TestRow {
  const ids = (result: StageResult): string => JSON.stringify(result.items.map((item) => item.taskId))
  if (ids(from) !== ids(to))
    throw new RangeError(`${from.stage} and ${to.stage} do not hold the same tasks of ${from.taskset}`)
  const test = pairedTest(outcomes(from), outcomes(to), seeded('paired', from.taskset, from.stage, to.stage))
  const { yes, text } = distinguishable(test, from.stage, to.stage)
  return { taskset: from.taskset, from: from.stage, to: to.stage, test, yes, words: text }
}
