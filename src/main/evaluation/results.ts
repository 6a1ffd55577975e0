/** From graded answers to what reports are made of. Pure. */
import type { Metrics } from '../../shared/event.ts'
import type { Task, Verdict } from '../../shared/task.ts'
import { parseTaggedText } from '../reasoning/trace.ts'
import type { Answer } from './answers.ts'
import type { ReportData, StageResult, TraceComparison } from './report/data.ts'
import { fixed } from './report/format.ts'
import { summarise } from './report/summary.ts'
import type { HeadlineRow } from './report/summary.ts'
import { average } from './statistics.ts'

const VERDICTS: readonly Verdict['kind'][] = ['correct', 'wrong', 'unreadable']

/** The answers by stage and taskset, tasks and runs in the order in which they first appear. */
export function stageResults(answers: readonly Answer[]): StageResult[] {
  const pairs = Map.groupBy(answers, ({ policy, taskset }) => JSON.stringify([policy, taskset]))
  return [...pairs.values()].map((own) => ({
    stage: own[0]!.policy,
    taskset: own[0]!.taskset,
    items: [...Map.groupBy(own, ({ taskId }) => taskId)].map(([taskId, runs]) => ({
      taskId,
      runs: runs.map(({ verdict, length, stop, answer }) => ({
        correct: verdict === 'correct',
        length,
        stop,
        verdict,
        answer
      }))
    }))
  }))
}

/** What an `evaluation` event says of the answers of one policy to one taskset. */
export function answerMetrics(answers: readonly Answer[]): Metrics {
  const share = (holds: (answer: Answer) => boolean): number => answers.filter(holds).length / answers.length
  const byVerdict = VERDICTS.flatMap((verdict) => {
    const lengths = answers.filter((answer) => answer.verdict === verdict).map(({ length }) => length)
    return lengths.length > 0 ? [[`completions/mean_length/${verdict}`, average(lengths)] as const] : []
  })
  return {
    accuracy: share(({ verdict }) => verdict === 'correct'),
    unreadable: share(({ verdict }) => verdict === 'unreadable'),
    'completions/mean_length': average(answers.map(({ length }) => length)),
    'completions/clipped_ratio': share(({ stop }) => stop === 'length'),
    ...Object.fromEntries(byVerdict)
  }
}

/**
 * Some tasks with what every policy wrote in the first run. Tasks are grouped by the policies' verdicts; the largest groups
 * show one task each, so that the choice is what usually happens, not what looks best.
 */
export function typicalTraces(
  answers: readonly Answer[],
  tasksets: readonly { readonly name: string; readonly tasks: readonly Task[] }[],
  count = 3
): TraceComparison[] {
  const first = Map.groupBy(
    answers.filter(({ run }) => run === 0),
    ({ taskset, taskId }) => JSON.stringify([taskset, taskId])
  )
  const compared = tasksets.flatMap(({ name, tasks }) =>
    tasks.flatMap((task) => {
      const own = first.get(JSON.stringify([name, task.id]))
      return own ? [{ taskset: name, task, answers: own, pattern: own.map(({ verdict }) => verdict).join() }] : []
    })
  )
  const groups = [...Map.groupBy(compared, ({ pattern }) => pattern).values()].sort((a, b) => b.length - a.length)
  const rounds = Math.max(0, ...groups.map((group) => group.length))
  const ranked = Array.from({ length: rounds }, (_, i) => groups.flatMap((group) => group[i] ?? [])).flat()
  return ranked.slice(0, count).map(({ taskset, task, answers: own }) => ({
    taskId: task.id,
    taskset,
    prompt: task.prompt,
    solution: task.solution,
    stages: own.map(traceOf)
  }))
}

function traceOf({ policy, text, tags, verdict, why, stop, length }: Answer): TraceComparison['stages'][number] {
  const trace = parseTaggedText(text, tags)
  const parts = trace.kind === 'well-formed' ? trace : { thinking: null, answer: null }
  return {
    stage: policy,
    thinking: parts.thinking,
    answer: parts.answer,
    text,
    verdict: why === undefined ? verdict : `${verdict} (${why})`,
    stop,
    length
  }
}

/** What the command line prints at the end: accuracies with intervals, then the paired tests in words. */
export function summaryLines(data: ReportData): string[] {
  const { tasksets, headline, tests } = summarise(data)
  const width = Math.max(...headline.map(({ stage }) => stage.length))
  return tasksets.flatMap((taskset) => {
    const rows = headline.filter((row) => row.taskset === taskset)
    const words = tests.filter((test) => test.taskset === taskset).map((test) => `  ${test.words}`)
    return [
      `${taskset}, ${rows[0]!.tasks} tasks × ${rows[0]!.runs} runs`,
      ...rows.map((row) => `  ${row.stage.padEnd(width)} ${rowText(row)}`),
      ...words
    ]
  })
}

function rowText({ mean, interval, deviation, meanLength, cutOff, unreadable }: HeadlineRow): string {
  const percent = (share: number): string => fixed(100 * share, 1)
  return [
    `${percent(mean).padStart(5)} % (${percent(interval.low)} to ${percent(interval.high)} at ${100 * interval.level} %)`,
    ...(deviation === undefined ? [] : [`sd ${percent(deviation)} over runs`]),
    `${fixed(meanLength, 0)} tokens`,
    `${percent(cutOff)} % cut off`,
    `${percent(unreadable)} % unreadable`
  ].join(', ')
}
