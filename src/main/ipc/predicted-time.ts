/**
 * How long a recipe will take, before it runs: from the rates that earlier runs of the same kind on the same base and device
 * reported; where there is none, from the matrix rate that doctor measured, which is a guess and called one.
 */
import { statSync } from 'node:fs'
import { AppError } from '../../shared/errors.ts'
import type { EvaluateRecipe, GrpoRecipe, Recipe, SftRecipe } from '../../shared/recipe.ts'
import { readHeader } from '../data/models/header.ts'
import { loadTasks } from '../policy/tasksets.ts'
import { gflopsOn } from './doctor-facts.ts'
import type { Host } from './host.ts'

export type PredictedTime = {
  readonly seconds: number | null
  readonly source: 'measured' | 'guess' | 'unknown'
  /** What it was made of, or what is missing. */
  readonly why: string
}
/** What the steps of an earlier run told, each metric's median. */
export type Measured = {
  readonly run: string
  readonly recipe: Recipe
  readonly metrics: Readonly<Record<string, number>>
}
/** The rows of a training file as a base's tokens, of a sample of them. */
export type RowLengths = { readonly total: number; readonly lengths: readonly number[]; readonly failed: number }
/** Trained tokens of an SFT run, prompts among them. */
export type Work = { readonly steps: number; readonly tokens: number }
/** What a guess is made of: tokens, and the passes over the weights that each of them takes. */
type Load = { readonly tokens: number; readonly operations: number; readonly atMost: boolean }

/**
 * Floating-point operations a token and weight: 2 forward, 2 backward to the activations. With LoRA the weights themselves
 * have no gradient; adapters, attention and what is computed again for memory are left out.
 */
const TRAIN_OPS = 4
const SAMPLE_OPS = 2
const SAMPLED_ROWS = 300
const KEPT = 8
const RATES = ['tokens_per_second/train', 'step_time', 'completions/mean_length'] as const
/** An evaluation tells them of each policy and taskset. */
const PAIR_RATES = ['tokens_per_second/rollout', 'completions/mean_length'] as const

/** Answers for one recipe after another; what it read of a file is kept for the next. */
export function timePredictor(host: Host): (recipe: Recipe) => Promise<PredictedTime> {
  const read = new Map<string, Promise<RowLengths>>()
  const lengthsOf = ({ base, train }: SftRecipe): Promise<RowLengths> => {
    const { mtimeMs, size } = statSync(train)
    const key = [base, train, mtimeMs, size].join('\n')
    const known = read.get(key)
    if (known !== undefined) return known
    // Kept for the recipe's next edit: it outlives the page that asked first.
    const asked = host.ask('tokens', { base, file: train, use: 'traces', rows: { sample: SAMPLED_ROWS } })
    read.set(key, asked as Promise<RowLengths>)
    asked.catch(() => read.delete(key))
    for (const old of [...read.keys()].slice(0, -KEPT)) read.delete(old)
    return asked as Promise<RowLengths>
  }

  return async (recipe) => {
    const before = lastMeasured(host, recipe)
    let load: Load
    if (recipe.kind === 'grpo') {
      if (before !== null) return grpoTime(recipe, before) ?? unknown(NO_RATE)
      load = grpoLoad(recipe)
    } else if (recipe.kind === 'evaluate') {
      let answers: number
      try {
        answers = answersOf(recipe)
      } catch (error) {
        if (!(error instanceof AppError)) throw error
        return unknown(`the tasks could not be counted: ${error.message}`)
      }
      if (before !== null) return evaluationTime(recipe, answers, before)
      load = evaluationLoad(recipe, answers)
    } else {
      let work: Work | null
      try {
        work = sftWork(recipe, await lengthsOf(recipe))
      } catch (error) {
        if (!(error instanceof AppError)) throw error
        return unknown(`the rows of ${recipe.train} could not be counted: ${error.message}`)
      }
      if (work === null) return unknown(`no row of ${recipe.train} fits into max_length ${recipe.max_length}`)
      const measured = before === null ? null : sftTime(work, before)
      if (measured !== null) return measured
      load = { tokens: work.tokens, operations: TRAIN_OPS, atMost: false }
    }
    const gflops = gflopsOn(host.store.settings.get<unknown>('doctor', null), recipe.device)
    if (gflops === null) return unknown(NO_RATE)
    const { parameters } = (await readHeader(recipe.base)).facts
    if (parameters === null) return unknown('the base does not say how large it is')
    return guessedTime(load, parameters, gflops)
  }
}

const NO_RATE =
  'no run of this kind on this base and device was measured here, and doctor has not measured the machine (Settings)'
const unknown = (why: string): PredictedTime => ({ seconds: null, source: 'unknown', why })

/** The newest ended run of the same kind, base and device, training the same, that told how fast it was. */
function lastMeasured(host: Host, recipe: Recipe): Measured | null {
  const { rows } = host.store.runs.list({ offset: 0, limit: 500, search: '', kind: recipe.kind, trashed: false })
  for (const row of rows) {
    if (row.state !== 'ended' || row.base !== recipe.base) continue
    const before = (JSON.parse(row.input) as { input: { recipe?: Recipe } }).input.recipe
    if (before?.kind !== recipe.kind || before.device !== recipe.device || trains(before) !== trains(recipe)) continue
    const metrics = recipe.kind === 'evaluate' ? pairRates(host, row.number) : rates(host, row.number)
    if (metrics !== null) return { run: row.name, recipe: before, metrics }
  }
  return null
}

/** A step of every weight takes longer than one of an adapter. */
const trains = (recipe: Recipe): string => ('finetuning_type' in recipe ? recipe.finetuning_type : '')

function rates({ store }: Host, run: number): Measured['metrics'] | null {
  const lines = store.events.series(run, [...RATES], 500)
  return lines.length === 0 ? null : Object.fromEntries(lines.map(({ metric, value }) => [metric, median(value)]))
}

/** The medians over policies and tasksets; null for an evaluation that ended before the first was answered. */
function pairRates({ store }: Host, run: number): Measured['metrics'] | null {
  const lines = store.events.series(run, undefined, 500)
  const found = PAIR_RATES.map((rate) => {
    const values = lines.filter(({ metric }) => metric.endsWith(`/${rate}`)).flatMap(({ value }) => value)
    return [rate, values] as const
  })
  if (found.some(([, values]) => values.length === 0)) return null
  return Object.fromEntries(found.map(([rate, values]) => [rate, median(values)]))
}

/** Tasks that are there twice, or too long to ask, are left out of an evaluation; here they count. Throws AppError('data'). */
function answersOf({ policies, runs, tasksets }: EvaluateRecipe): number {
  const tasks = tasksets
    .flatMap(({ tasks }) => tasks)
    .reduce((sum, source) => sum + ('family' in source ? source.count : loadTasks([source]).length), 0)
  return policies.length * runs * tasks
}

/** Answers are taken to be as long as they were then, unless the limit is lower now. */
export function evaluationTime(recipe: EvaluateRecipe, answers: number, { run, metrics }: Measured): PredictedTime {
  const [rate, then] = PAIR_RATES.map((name) => metrics[name]!) as [number, number]
  const length = Math.min(then, recipe.max_completion_length)
  const why = `${round(answers)} answers of about ${round(length)} tokens, at the ${round(rate)} tokens a second of "${run}"`
  return { seconds: (answers * length) / rate, source: 'measured', why }
}

const evaluationLoad = (recipe: EvaluateRecipe, answers: number): Load => ({
  tokens: answers * (recipe.max_prompt_length + recipe.max_completion_length),
  operations: SAMPLE_OPS,
  atMost: true
})

/** Rollouts are taken to be as long as they may be, and sampled as fast as trained. */
const grpoLoad = (recipe: GrpoRecipe): Load => ({
  tokens: recipe.max_steps * rolloutsOf(recipe) * (recipe.max_prompt_length + recipe.max_completion_length),
  operations: TRAIN_OPS + SAMPLE_OPS,
  atMost: true
})

/** What an SFT run trains on, as its own first lines will say it; null where no row is short enough. */
export function sftWork(recipe: SftRecipe, { total, lengths, failed }: RowLengths): Work | null {
  const kept = lengths.filter((length) => length <= recipe.max_length)
  if (kept.length === 0) return null
  const usable = (total * kept.length) / (lengths.length + failed)
  const lessons = recipe.held_out === undefined ? usable * (1 - recipe.held_out_share) : usable
  const steps =
    recipe.max_steps ?? Math.max(1, Math.ceil((lessons * recipe.num_train_epochs) / recipe.train_batch_size))
  const mean = kept.reduce((sum, length) => sum + length, 0) / kept.length
  return { steps, tokens: steps * recipe.train_batch_size * mean }
}

export function sftTime({ steps, tokens }: Work, { run, metrics }: Measured): PredictedTime | null {
  const rate = metrics['tokens_per_second/train']
  if (!(rate !== undefined && rate > 0)) return null
  const why = `${steps} steps of about ${round(tokens / steps)} tokens, at the ${round(rate)} tokens a second of "${run}"; evaluations come on top`
  return { seconds: tokens / rate, source: 'measured', why }
}

/** A step grows with its rollouts and their length, which is that of then unless the limit is lower now. */
export function grpoTime(recipe: GrpoRecipe, { run, recipe: before, metrics }: Measured): PredictedTime | null {
  const [pace, length] = [metrics['step_time'], metrics['completions/mean_length']]
  if (before.kind !== 'grpo' || !(pace !== undefined && pace > 0)) return null
  const now = length === undefined ? recipe.max_completion_length : Math.min(length, recipe.max_completion_length)
  const then = length ?? before.max_completion_length
  const scale = (rolloutsOf(recipe) * now) / (rolloutsOf(before) * then)
  const why = `${recipe.max_steps} steps of ${rolloutsOf(recipe)} rollouts of about ${round(now)} tokens; "${run}" took ${pace.toPrecision(3)} s for ${rolloutsOf(before)} of ${round(then)}; evaluations come on top`
  return { seconds: recipe.max_steps * pace * scale, source: 'measured', why }
}

/** `gflops` in 10⁹ operations a second. */
function guessedTime({ tokens, operations, atMost }: Load, parameters: number, gflops: number): PredictedTime {
  const why = `no run of this kind on this base and device was measured here; ${atMost ? 'at most ' : ''}${round(tokens)} tokens at the ${gflops.toFixed(0)} GFLOP/s that doctor measured for matrix products alone`
  return { seconds: (operations * parameters * tokens) / (gflops * 1e9), source: 'guess', why }
}

const rolloutsOf = (recipe: GrpoRecipe): number => recipe.prompts_per_step * recipe.num_generations
const round = (value: number): string => Math.round(value).toLocaleString('en')

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b)
  return sorted[Math.floor(sorted.length / 2)]!
}
