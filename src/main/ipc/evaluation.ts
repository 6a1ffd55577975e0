/** Evaluations as a person reads them. A verdict given by hand counts in every score, and scores say how many there are. */
import { parseTaggedText } from '../reasoning/trace.ts'
import { summarise } from '../evaluation/report/summary.ts'
import type { StageResult } from '../evaluation/report/data.ts'
import { runAccuracies } from '../evaluation/statistics.ts'
import { AppError } from '../../shared/errors.ts'
import type { EvaluatedItem, GradedAnswer, PolicyScore } from '../../shared/contract/evaluation.ts'
import type { Calls } from './calls.ts'
import { testsOf } from './compare.ts'
import type { Pair } from './compare.ts'
import type { EvaluationData, EvaluationReader, JudgedAnswer } from './evaluation-data.ts'
import type { Host } from './host.ts'
import { existing } from './run-start.ts'

const MOST_POINTS = 5000

export function evaluationCalls(host: Host, read: EvaluationReader): Calls<'evaluation'> {
  const data = (id: string): EvaluationData => read(existing(host, id))
  return {
    scores: async ({ id }, signal) => {
      const { answers, results, handJudged } = data(id)
      const every = Math.ceil(answers.length / MOST_POINTS)
      return {
        scores: results.map(scoreOf),
        tests: await testsOf(withinRun(results), signal),
        lengths: answers
          .filter((_, i) => i % every === 0)
          .map(({ policy, length, verdict }) => ({ policy, length, verdict })),
        handJudged
      }
    },
    items: ({ id, taskset, offset, limit, order }) => {
      const { answers, task } = data(id)
      const all = itemsOf(answers.filter((answer) => taskset === undefined || answer.taskset === taskset))
      const rows = order === 'task' ? all : all.sort((a, b) => ORDERS[order](b) - ORDERS[order](a))
      return {
        total: rows.length,
        rows: rows.slice(offset, offset + limit).map((item): EvaluatedItem => {
          const asked = task(item.taskset, item.taskId)
          return {
            taskset: item.taskset,
            taskId: item.taskId,
            prompt: asked?.prompt ?? null,
            solution: asked?.solution ?? null,
            passRate: item.passRate
          }
        })
      }
    },
    answers: ({ id, taskset, taskId }) =>
      data(id)
        .answers.filter((answer) => answer.taskset === taskset && answer.taskId === taskId)
        .map(gradedAnswer),
    judge: ({ id, taskset, taskId, policy, run, verdict }) => {
      const row = existing(host, id)
      const find = (): JudgedAnswer | undefined =>
        read(row).answers.find(
          (answer) =>
            answer.taskset === taskset && answer.taskId === taskId && answer.policy === policy && answer.run === run
        )
      if (find() === undefined) throw new AppError('usage', 'there is no such answer', 'Look at the run again.')
      host.store.judgements.set(row.number, { taskset, task: taskId, policy, repeat: run, verdict })
      host.changed('runs')
      return gradedAnswer(find()!)
    }
  }
}

/** What a policy's answers to one taskset come to. A running evaluation's last run may be incomplete: it counts as far as it is. */
function scoreOf(result: StageResult): PolicyScore {
  const { headline } = summarise({ ...EMPTY, stages: [{ name: result.stage }], results: [result] })
  const row = headline[0]!
  const runs = Math.max(...result.items.map((item) => item.runs.length))
  const whole = result.items.filter((item) => item.runs.length === runs)
  return {
    policy: result.stage,
    taskset: result.taskset,
    tasks: result.items.length,
    runs,
    accuracyByRun: runAccuracies(whole.map((item) => item.runs.map(({ correct }) => correct))),
    accuracy: row.mean,
    low: row.interval.low,
    high: row.interval.high,
    bestOfK: row.ofRuns.best,
    majorityOfK: row.ofRuns.majority ?? row.ofRuns.average,
    meanLength: row.meanLength,
    clippedShare: row.cutOff,
    unreadableShare: row.unreadable
  }
}
const EMPTY = { title: '', date: '', command: '', curves: [], traces: [], settings: [], seeds: {}, environment: {} }

/** Every policy against every other on the same taskset. */
const withinRun = (results: readonly StageResult[]): Pair[] =>
  results.flatMap((from, i) =>
    results
      .slice(i + 1)
      .filter((to) => to.taskset === from.taskset)
      .map((to) => ({ from, to, a: from.stage, b: to.stage }))
  )

type Item = { taskset: string; taskId: string; passRate: EvaluatedItem['passRate']; unreadable: number }

function itemsOf(answers: readonly JudgedAnswer[]): Item[] {
  const policies = [...new Set(answers.map(({ policy }) => policy))]
  const groups = Map.groupBy(answers, ({ taskset, taskId }) => JSON.stringify([taskset, taskId]))
  return [...groups.values()].map((own) => ({
    taskset: own[0]!.taskset,
    taskId: own[0]!.taskId,
    unreadable: own.filter(({ verdict, byHand }) => verdict === 'unreadable' && byHand === null).length,
    passRate: policies.map((policy) => {
      const tries = own.filter((answer) => answer.policy === policy)
      return { policy, passed: tries.filter(({ verdict }) => verdict === 'correct').length, of: tries.length }
    })
  }))
}

const passed = ({ passRate }: Item): number =>
  passRate.reduce((sum, rate) => sum + rate.passed, 0) /
  Math.max(
    1,
    passRate.reduce((sum, rate) => sum + rate.of, 0)
  )

/** Larger comes first. Disputed: what the rules could not read, then what divides the tries most evenly. */
const ORDERS: { readonly [O in 'hardest' | 'disputed']: (item: Item) => number } = {
  hardest: (item) => -passed(item),
  disputed: (item) => 1000 * item.unreadable - Math.abs(passed(item) - 0.5)
}

function gradedAnswer(answer: JudgedAnswer): GradedAnswer {
  const trace = parseTaggedText(answer.text)
  return {
    policy: answer.policy,
    run: answer.run,
    text: answer.text,
    thinking: trace.kind === 'well-formed' ? trace.thinking : null,
    answer: answer.answer,
    verdict: answer.verdict,
    why: answer.why ?? (trace.kind === 'malformed' ? trace.why : null),
    judgedByHand: answer.byHand,
    length: answer.length,
    stop: answer.stop
  }
}
