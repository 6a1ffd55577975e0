/** Runs side by side: which settings differ, and whether their scores can be told apart. */
import { setImmediate as nextTurn } from 'node:timers/promises'
import type { PairedTest } from '../../shared/contract/evaluation.ts'
import { seeded } from '../../shared/random.ts'
import { distinguishable, pairedTest } from '../evaluation/statistics.ts'
import type { StageResult } from '../evaluation/report/data.ts'
import type { RunRow } from '../data/store/runs.ts'
import { runResults, settingsOf } from './run-folder.ts'

export type SettingRow = { path: string; values: (string | null)[]; differs: boolean }

/** Settings of a run's place in the world, not of what it does. */
const PLACES: ReadonlySet<string> = new Set(['output_dir', 'sft.output_dir', 'grpo.output_dir', 'evaluate.output_dir'])

/** Those that differ first, each group in the order of the recipes. */
export function settingRows(rows: readonly RunRow[]): SettingRow[] {
  const all = rows.map(settingsOf)
  const paths = [...new Set(all.flatMap((settings) => [...settings.keys()]))].filter((path) => !PLACES.has(path))
  const compared = paths.map((path) => {
    const values = all.map((settings) => settings.get(path) ?? null)
    return { path, values, differs: new Set(values).size > 1 }
  })
  return [...compared.filter(({ differs }) => differs), ...compared.filter(({ differs }) => !differs)]
}

/**
 * Every pair of runs on every taskset both measured: policies of the same name, else the last policy of each. The host
 * answers others between two tests; the signal ends it there.
 */
export async function compareRuns(rows: readonly RunRow[], signal?: AbortSignal): Promise<PairedTest[]> {
  const measured = rows.map((row) => ({ row, results: runResults(row)?.results ?? [] }))
  return allTests(
    measured.flatMap((a, i) =>
      measured.slice(i + 1).flatMap((b) =>
        [...new Set(a.results.map(({ taskset }) => taskset))].flatMap((taskset) =>
          pairsOf(a.results, b.results, taskset).map(
            ([from, to]) =>
              () =>
                testOf(from, to, `${a.row.name}: ${from.stage}`, `${b.row.name}: ${to.stage}`)
          )
        )
      )
    ),
    signal
  )
}

/** Makes tests one at a time, a large one takes up to a second, and lets the host do other things after each. */
export async function allTests(
  tests: readonly (() => PairedTest | null)[],
  signal: AbortSignal | undefined
): Promise<PairedTest[]> {
  const made: PairedTest[] = []
  for (const test of tests) {
    signal?.throwIfAborted()
    const one = test()
    if (one !== null) made.push(one)
    await nextTurn()
  }
  return made
}

function pairsOf(a: readonly StageResult[], b: readonly StageResult[], taskset: string): [StageResult, StageResult][] {
  const [left, right] = [a, b].map((results) => results.filter((one) => one.taskset === taskset))
  if (left!.length === 0 || right!.length === 0) return []
  const same = left!.flatMap((one): [StageResult, StageResult][] => {
    const other = right!.find(({ stage }) => stage === one.stage)
    return other === undefined ? [] : [[one, other]]
  })
  return same.length > 0 ? same : [[left!.at(-1)!, right!.at(-1)!]]
}

/** A paired test over the tasks both answered; null where there is none. */
export function testOf(from: StageResult, to: StageResult, a: string, b: string): PairedTest | null {
  const other = new Map(to.items.map((item) => [item.taskId, item]))
  const shared = from.items.filter(({ taskId }) => other.has(taskId))
  if (shared.length === 0) return null
  const outcomes = (items: StageResult['items']): boolean[][] =>
    items.map(({ runs }) => runs.map(({ correct }) => correct))
  const test = pairedTest(
    outcomes(shared),
    outcomes(shared.map(({ taskId }) => other.get(taskId)!)),
    seeded('paired', from.taskset, a, b)
  )
  const { text } = distinguishable(test, a, b)
  const { difference, interval, p } = test
  return { taskset: from.taskset, a, b, difference, low: interval.low, high: interval.high, p, verdict: text }
}
