/**
 * Measuring policies: every policy answers every question in every run, and each answer is graded. The seed of an answer
 * names run and task and never the policy, so that policies are compared on the same luck.
 */
import { setImmediate as nextTurn } from 'node:timers/promises'
import { AppError } from '../../shared/errors.ts'
import type { Emit } from '../../shared/event.ts'
import type { SamplingSettings } from '../../shared/recipe.ts'
import type { Rollout, Task } from '../../shared/task.ts'
import type { Dialogue } from '../policy/dialogue.ts'
import { promptedTasks } from '../policy/tasksets.ts'
import type { Prompted, Prompting } from '../policy/tasksets.ts'
import { normalForm } from '../reasoning/normal-form.ts'
import { explainJudgementWith } from '../reasoning/verdict.ts'
import { blocksOf } from './answers.ts'
import type { Answer, Block, Policy, Taskset } from './answers.ts'
import { equalityProcess } from './equality-process.ts'
import type { EqualityProcess } from './equality-process.ts'
import type { PolicyModels } from './policy-models.ts'
import { answerMetrics } from './results.ts'
import { THINK_TAGS } from '../reasoning/trace.ts'

export type Measurement = {
  readonly policies: readonly Policy[]
  readonly tasksets: readonly Taskset[]
  readonly runs: number
  readonly seed: number
  readonly sampling: SamplingSettings
  readonly maxTokens: number
  readonly lenient?: boolean
}

export type Means = {
  /** Their width is part of the result: another one may round differently. */
  readonly models: Pick<PolicyModels, 'width' | 'use'>
  readonly dialogue: Dialogue
  readonly emit: Emit
  readonly signal: AbortSignal
  /** Answers of the first blocks, from an evaluation that was stopped. */
  readonly kept?: readonly Answer[]
  /** Takes the answers of every further block as soon as it is graded. */
  readonly onBlock?: (answers: readonly Answer[]) => void
}

/** Widths of the sampler in one block: enough to keep it full, few enough to lose little when stopped. */
const WIDTHS_PER_BLOCK = 8

/** The blocks in which `evaluatePolicies` samples: what kept answers are checked against. */
export const blocksFor = ({ policies, tasksets, runs }: Measurement, width: number): readonly Block[] =>
  blocksOf(policies, tasksets, runs, WIDTHS_PER_BLOCK * width)

/**
 * All answers in the order of `blocksFor`, the kept ones included. Progress is reported by policy and taskset and for the
 * whole; an `evaluation` event closes each pair. Throws AppError('cancelled') within a decode step of the signal.
 */
export async function evaluatePolicies(measurement: Measurement, means: Means): Promise<readonly Answer[]> {
  const { policies, tasksets, runs, seed } = measurement
  const { models, dialogue, emit, signal, kept = [], onBlock } = means
  const all = [...kept]
  const total = policies.length * runs * tasksets.reduce((sum, { questions }) => sum + questions.length, 0)
  const equality = equalityProcess()
  const stop = (): void => equality.close() // an answer that awaits its verdict is let go
  signal.addEventListener('abort', stop)
  try {
    let skip = kept.length
    /** Of the pair that is being answered: what was sampled and graded now, not before a stop. */
    let pace = { tokens: 0, seconds: 0 }
    for (const block of blocksFor(measurement, models.width)) {
      if (skip >= block.asked.length) {
        skip -= block.asked.length
        continue
      }
      refuseStopped(signal)
      const { policy, taskset, asked, from } = block
      const { sampler, adapter } = await models.use(policy.name)
      await nextTurn() // loading kept the loop from hearing a cancel
      refuseStopped(signal)
      const label = `${policy.name} on ${taskset.name}`
      const of = runs * taskset.questions.length
      const before = all.length
      const started = performance.now()
      const { groups, order } = requestsOf(block, seed)
      const { groups: sampled } = await sampler.generate(groups, {
        sampling: measurement.sampling,
        maxTokens: measurement.maxTokens,
        adapter,
        signal,
        onProgress: (done, _ofBlock, tokens) => {
          const rate = (tokens * 1000) / (performance.now() - started)
          emit({ kind: 'progress', label, done: from + done, of, note: `${rate.toFixed(0)} tokens/s` })
          if (total > of) emit({ kind: 'progress', label: 'all answers', done: before + done, of: total })
        }
      })
      const graded: Answer[] = []
      for (const [i, { run, question }] of asked.entries()) {
        const rollout = sampled[order[i]!.request]![order[i]!.member]!
        const about = { policy: policy.name, taskset: taskset.name, run, taskId: question.task.id }
        graded.push({ ...about, ...(await verdictOn(question.task, rollout, dialogue, equality, measurement.lenient)) })
        refuseStopped(signal)
      }
      onBlock?.(graded)
      all.push(...graded)
      pace = {
        tokens: pace.tokens + graded.reduce((sum, { length }) => sum + length, 0),
        seconds: pace.seconds + (performance.now() - started) / 1000
      }
      if (from + asked.length === of) {
        const own = all.slice(-of)
        const measured = { ...answerMetrics(own), 'tokens_per_second/rollout': pace.tokens / pace.seconds }
        pace = { tokens: 0, seconds: 0 }
        const metrics = Object.entries(measured).map(([name, value]) => [
          `${policy.name}/${taskset.name}/${name}`,
          value
        ])
        const pair = policies.indexOf(policy) * tasksets.length + tasksets.indexOf(taskset) + 1
        emit({ kind: 'evaluation', step: pair, metrics: Object.fromEntries(metrics) })
      }
    }
    return all
  } finally {
    signal.removeEventListener('abort', stop)
    equality.close()
  }
}

/** Throws AppError('cancelled') once the signal has fired. */
export function refuseStopped(signal: AbortSignal): void {
  if (signal.aborted) throw new AppError('cancelled', 'the evaluation was stopped')
}

/** One request per question of the block, with a seed for each of its runs; and where each answer is found. */
function requestsOf(
  { taskset, asked }: Block,
  seed: number
): { groups: { prompt: Int32Array; seeds: string[] }[]; order: { request: number; member: number }[] } {
  const requests = new Map<Prompted, number>()
  const groups: { prompt: Int32Array; seeds: string[] }[] = []
  const order = asked.map(({ run, question }) => {
    const request = requests.get(question) ?? groups.push({ prompt: question.prompt, seeds: [] }) - 1
    requests.set(question, request)
    return {
      request,
      member: groups[request]!.seeds.push(`${seed}/evaluation/${taskset.name}/${run}/${question.task.id}`) - 1
    }
  })
  return { groups, order }
}

type Verdicts = Pick<Answer, 'verdict' | 'why' | 'answer' | 'length' | 'stop' | 'text' | 'tags'>

async function verdictOn(
  task: Task,
  rollout: Rollout,
  dialogue: Dialogue,
  equality: EqualityProcess,
  lenient = false
): Promise<Verdicts> {
  const { tags } = dialogue
  const usual = tags.open === THINK_TAGS.open && tags.close === THINK_TAGS.close
  const trace = dialogue.parse(rollout.tokens)
  const { verdict, extraction } = await explainJudgementWith(task, trace.answer, equality.compare, { lenient })
  return {
    verdict: verdict.kind,
    ...(verdict.kind === 'unreadable' && { why: verdict.why }),
    answer: extraction.kind === 'answer' ? normalForm(extraction.value) : null,
    length: rollout.tokens.length,
    stop: rollout.stop,
    text: dialogue.written(rollout.tokens),
    ...(!usual && { tags })
  }
}

/**
 * Tasks as questions to this model. A task that is there twice would count twice, so its second copy is left out; so are
 * prompts over the limit, for every policy alike. Throws AppError('data') where nothing is left.
 */
export function askableTaskset(name: string, tasks: readonly Task[], prompting: Prompting): Taskset {
  const once = [...new Map(tasks.map((task) => [task.id, task])).values()]
  const repeats = tasks.length - once.length
  if (repeats > 0) prompting.warn(`${name}: ${repeats} of ${tasks.length} tasks left out: the same as another`)
  return { name, questions: promptedTasks(name, once, prompting) }
}
