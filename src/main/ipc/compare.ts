/** Runs side by side: which settings differ, and whether their scores can be told apart. */
import { setImmediate as breath } from 'node:timers/promises'
import type { PairedTest } from '../../shared/contract/evaluation.ts'
import { distinctNames } from '../../shared/distinct-names.ts'
import { seeded } from '../../shared/random.ts'
import { distinguishable, pairedTest } from '../evaluation/statistics.ts'
import type { PairedTest as Statistic } from '../evaluation/statistics.ts'
import type { StageResult } from '../evaluation/report/data.ts'
import type { RunRow } from '../data/store/runs.ts'
import { settingsOf } from './run-folder.ts'

export type SettingRow = { path: string; values: (string | null)[]; differs: boolean }
/** Two policies that are to be told apart, each with the words that name it. */
export type Pair = { readonly from: StageResult; readonly to: StageResult; readonly a: string; readonly b: string }
export type Measured = { readonly name: string; readonly results: readonly StageResult[] }

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
 * Every pair of runs on every taskset both measured: policies of the same name, else the last policy of each. Runs of one name
 * are told apart by their place, as the page does.
 */
export function pairsOf(runs: readonly Measured[]): Pair[] {
  const names = distinctNames(runs.map(({ name }) => name))
  return runs.flatMap((a, i) =>
    runs.slice(i + 1).flatMap((b, j) => {
      const tasksets = new Set(a.results.map(({ taskset }) => taskset))
      return [...tasksets].flatMap((taskset) =>
        onTaskset(a.results, b.results, taskset).map(([from, to]) => ({
          from,
          to,
          a: `${names[i]}: ${from.stage}`,
          b: `${names[i + 1 + j]}: ${to.stage}`
        }))
      )
    })
  )
}

function onTaskset(
  a: readonly StageResult[],
  b: readonly StageResult[],
  taskset: string
): [StageResult, StageResult][] {
  const [left, right] = [a, b].map((results) => results.filter((one) => one.taskset === taskset))
  if (left!.length === 0 || right!.length === 0) return []
  const same = left!.flatMap((one): [StageResult, StageResult][] => {
    const other = right!.find(({ stage }) => stage === one.stage)
    return other === undefined ? [] : [[one, other]]
  })
  return same.length > 0 ? same : [[left!.at(-1)!, right!.at(-1)!]]
}

/**
 * A paired test of each pair that has tasks in common. A large one takes tens of milliseconds: the host answers others between
 * them, and what was tested is kept as long as the results it was made of. Rejects when the signal aborts.
 */
export async function testsOf(pairs: readonly Pair[], signal?: AbortSignal): Promise<PairedTest[]> {
  const tests: PairedTest[] = []
  for (const { from, to, a, b } of pairs) {
    signal?.throwIfAborted()
    const known = KEPT.get(from)?.get(to)
    const test = known === undefined ? statisticOf(from, to) : known
    if (known === undefined) {
      const others = KEPT.get(from) ?? new WeakMap<StageResult, Statistic | null>()
      KEPT.set(from, others.set(to, test))
      await breath()
    }
    if (test === null) continue
    const { difference, interval, p } = test
    const { yes, text } = distinguishable(test, a, b)
    const { low, high } = interval
    tests.push({ taskset: from.taskset, a, b, difference, low, high, p, distinguishable: yes, verdict: text })
  }
  return tests
}
/** By the results themselves, which `evaluationReader` makes anew when a run's file or its verdicts change. */
const KEPT = new WeakMap<StageResult, WeakMap<StageResult, Statistic | null>>()

/** Over the tasks both answered; null where there is none. */
function statisticOf(from: StageResult, to: StageResult): Statistic | null {
  const other = new Map(to.items.map((item) => [item.taskId, item]))
  const shared = from.items.filter(({ taskId }) => other.has(taskId))
  if (shared.length === 0) return null
  const outcomes = (items: StageResult['items']): boolean[][] =>
    items.map(({ runs }) => runs.map(({ correct }) => correct))
  return pairedTest(
    outcomes(shared),
    outcomes(shared.map(({ taskId }) => other.get(taskId)!)),
    // Not by the runs' names: a run that is renamed keeps its interval.
    seeded('paired', from.taskset, from.stage, to.stage)
  )
}
