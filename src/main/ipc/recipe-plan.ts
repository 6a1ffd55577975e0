/** The memory plan of a recipe and a guess at its time, before it runs. */
import { createReadStream } from 'node:fs'
import { createInterface } from 'node:readline'
import type { Recipe } from '../../shared/recipe.ts'
import type { Calls } from './calls.ts'
import type { Host } from './host.ts'
import { checkRecipe, issuesOf } from './recipe-text.ts'
import type { RunRow } from '../data/store/runs.ts'

type Planned = Awaited<ReturnType<Calls<'recipes'>['plan']>>
type Memory = Pick<Planned, 'fits' | 'rows' | 'allowedMib' | 'notes'>

export async function planOf(host: Host, yaml: string, signal: AbortSignal | undefined): Promise<Planned> {
  let recipe: Recipe
  try {
    recipe = (await checkRecipe(yaml, host.options.workspace, host.at('runs', 'new'))).recipe
    const memory = (await host.ask('plan', { recipe }, { signal })) as Memory
    const time = await predict(host, recipe)
    return {
      ...memory,
      notes: [...memory.notes, ...(time === null ? [] : [time.why])],
      predictedSeconds: time?.seconds ?? null,
      issues: []
    }
  } catch (error) {
    const issues = issuesOf(error, host.options.workspace)
    return { fits: false, rows: [], allowedMib: 0, notes: [], predictedSeconds: null, issues }
  }
}

/** From the newest finished run of the same kind on the same base: its time a step, by the size of a step. Null without one. */
async function predict(host: Host, recipe: Recipe): Promise<{ seconds: number; why: string } | null> {
  if (recipe.kind === 'evaluate') return null
  const { rows } = host.store.runs.list({ offset: 0, limit: 500, search: '', kind: recipe.kind, trashed: false })
  for (const row of rows) {
    if (row.state !== 'ended' || row.base !== recipe.base) continue
    const [line] = host.store.events.series(row.number, ['step_time'], 500)
    const before = recipeOf(row)
    if (line === undefined || line.value.length === 0 || before?.kind !== recipe.kind) continue
    const pace = median(line.value)
    const scale = workOf(recipe) / workOf(before)
    const steps = await stepsOf(recipe)
    if (steps === null) return null
    return {
      seconds: steps * pace * scale,
      why: `time from "${row.name}": ${pace.toPrecision(3)} s a step, ${steps} steps, each ${scale.toPrecision(2)} times as large at most`
    }
  }
  return null
}

const recipeOf = (row: RunRow): Recipe | undefined =>
  (JSON.parse(row.input) as { input: { recipe?: Recipe } }).input.recipe

/** What a step's time grows with, in tokens at most. */
function workOf(recipe: Exclude<Recipe, { kind: 'evaluate' }>): number {
  return recipe.kind === 'sft'
    ? recipe.train_batch_size * recipe.max_length
    : recipe.prompts_per_step * recipe.num_generations * (recipe.max_prompt_length + recipe.max_completion_length)
}

async function stepsOf(recipe: Exclude<Recipe, { kind: 'evaluate' }>): Promise<number | null> {
  if (recipe.max_steps !== undefined) return recipe.max_steps
  if (recipe.kind !== 'sft') return null
  let rows = 0
  for await (const line of createInterface({ input: createReadStream(recipe.train) })) if (line.trim() !== '') rows++
  return Math.ceil((rows * recipe.num_train_epochs) / recipe.train_batch_size)
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b)
  return sorted[Math.floor(sorted.length / 2)]!
}
