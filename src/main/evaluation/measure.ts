/**
 * Measuring policies: every policy answers every question in every run, and each answer is graded. The seed of an answer
 * names run and task and never the policy, so that policies are compared on the same luck.
 */
import { AppError } from '../../shared/errors.ts'
import type { Emit } from '../../shared/event.ts'
import type { SamplingSettings } from '../../shared/recipe.ts'
import type { Rollout, Task } from '../../shared/task.ts'
import type { Model } from '../engine/model.ts'
import type { Sampler } from '../engine/sampler.ts'
import type { Dialogue } from '../policy/dialogue.ts'
import { promptedTasks } from '../policy/tasksets.ts'
import type { Prompted, Prompting } from '../policy/tasksets.ts'
import { normalForm } from '../reasoning/normal-form.ts'
import { explainJudgementWith } from '../reasoning/verdict.ts'
import { blocksOf } from './answers.ts'
import type { Answer, Block, Policy, Taskset } from './answers.ts'
import { equalityProcess } from './equality-process.ts'
import type { EqualityProcess } from './equality-process.ts'
import { answerMetrics } from './results.ts'

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
  /** Of the model that all policies share. Its width is part of the result: another one may round differently. */
  readonly sampler: Sampler
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
  const { sampler, dialogue, emit, signal, kept = [], onBlock } = means
  const all = [...kept]
  const total = policies.length * runs * tasksets.reduce((sum, { questions }) => sum + questions.length, 0)
  const equality = equalityProcess()
  const stop = (): void => equality.close() // an answer that awaits its verdict is let go
  signal.addEventListener('abort', stop)
  try {
    let skip = kept.length
    for (const block of blocksFor(measurement, sampler.width)) {
      if (skip >= block.asked.length) {
        skip -= block.asked.length
        continue
      }
      refuseStopped(signal)
      const { policy, taskset, asked, from } = block
      const label = `${policy.name} on ${taskset.name}`
      const of = runs * taskset.questions.length
      const before = all.length
      const started = performance.now()
      const { groups, order } = requestsOf(block, seed)
      const { groups: sampled } = await sampler.generate(groups, {
        sampling: measurement.sampling,
        maxTokens: measurement.maxTokens,
        adapter: policy.adapter,
        signal,
        onProgress: (done, _ofBlock, tokens) => {
          const pace = (tokens * 1000) / (performance.now() - started)
          emit({ kind: 'progress', label, done: from + done, of, note: `${pace.toFixed(0)} tokens/s` })
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
      if (from + asked.length === of) {
        const own = all.slice(-of)
        const metrics = Object.entries(answerMetrics(own)).map(([name, value]) => [
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

type Verdicts = Pick<Answer, 'verdict' | 'why' | 'answer' | 'length' | 'stop' | 'text'>

async function verdictOn(
  task: Task,
  rollout: Rollout,
  dialogue: Dialogue,
  equality: EqualityProcess,
  lenient = false
): Promise<Verdicts> {
  const { vocabulary } = dialogue
  const trace = dialogue.parse(rollout.tokens)
  const { verdict, extraction } = await explainJudgementWith(task, trace.answer, equality.compare, { lenient })
  const tokens = vocabulary.isEndOfGeneration(rollout.tokens.at(-1) ?? -1)
    ? rollout.tokens.subarray(0, -1)
    : rollout.tokens
  return {
    verdict: verdict.kind,
    ...(verdict.kind === 'unreadable' && { why: verdict.why }),
    answer: extraction.kind === 'answer' ? normalForm(extraction.value) : null,
    length: rollout.tokens.length,
    stop: rollout.stop,
    text: vocabulary.decode(tokens)
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

/** On a CPU 64 at once are no faster than 32, and a step that takes twice as long hears a cancel later. */
const WIDEST = { cpu: 32, gpu: 64 } as const

/** How many sequences to decode at once: at most half of the memory for caches and logits, and no more than there are. */
export function comfortableWidth(
  model: Pick<Model, 'backend' | 'config'>,
  contextTokens: number,
  sequences: number,
  limitMiB?: number
): number {
  const { layers, keyHeads, headDim, vocabulary } = model.config
  const cache = contextTokens * layers * keyHeads * headDim * 2 * 2 // keys and values in F16
  const rows = vocabulary * 4 * 6 // logits and probabilities, on the device and here
  const free = model.backend.isCpu ? process.availableMemory() : model.backend.freeMemory()
  const limit = limitMiB === undefined ? 0.8 * free : limitMiB * 2 ** 20
  return Math.max(
    1,
    Math.min(WIDEST[model.backend.isCpu ? 'cpu' : 'gpu'], sequences, Math.floor(limit / 2 / (cache + rows)))
  )
}
