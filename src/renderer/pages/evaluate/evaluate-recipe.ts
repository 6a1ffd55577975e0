/** The start form as a recipe of kind evaluate; the app makes its folder. JSON is YAML, so names and paths are written as JSON strings. */
import type { TaskSource } from '../../../shared/recipe.ts'

export type EvaluateForm = {
  readonly base: string
  readonly policies: readonly { readonly name: string; readonly adapter: string | null; readonly base?: string }[]
  readonly tasksets: readonly { readonly name: string; readonly source: TaskSource }[]
  readonly runs: number
  readonly maxCompletionLength: number
  readonly temperature: number
  readonly seed: number
  readonly lenient: boolean
}

/** What still has to be chosen, as one sentence; null when the form can be started. */
export function formProblem(form: EvaluateForm): string | null {
  const repeated = (names: readonly string[]): string | undefined => names.find((name, i) => names.indexOf(name) !== i)
  if (form.base === '') return 'Choose the base the policies stand on.'
  if (form.policies.length === 0) return 'Choose at least one policy.'
  if (form.policies.some((policy) => policy.name.trim() === '')) return 'Give every policy a name.'
  const policy = repeated(form.policies.map((one) => one.name))
  if (policy !== undefined) return `Two policies are called “${policy}”: give each a name of its own.`
  if (form.tasksets.length === 0) return 'Choose at least one taskset.'
  const taskset = repeated(form.tasksets.map((one) => one.name))
  if (taskset !== undefined) return `Two tasksets are called “${taskset}”: give each a name of its own.`
  if (!(form.runs >= 1)) return 'At least one run of every task is needed.'
  return null
}

export function evaluateYaml(form: EvaluateForm): string {
  const text = (value: string): string => JSON.stringify(value)
  const policies = form.policies.flatMap(({ name, adapter, base }) => [
    `  - name: ${text(name)}`,
    ...(adapter === null ? [] : [`    adapter: ${text(adapter)}`]),
    ...(base === undefined ? [] : [`    base: ${text(base)}`])
  ])
  const tasksets = form.tasksets.flatMap(({ name, source }) => [
    `  - name: ${text(name)}`,
    `    tasks: [${JSON.stringify(source)}]`
  ])
  return [
    'kind: evaluate',
    `base: ${text(form.base)}`,
    'policies:',
    ...policies,
    'tasksets:',
    ...tasksets,
    `runs: ${form.runs}`,
    `seed: ${form.seed}`,
    `max_completion_length: ${form.maxCompletionLength}`,
    `lenient: ${form.lenient}`,
    'sampling:',
    `  temperature: ${form.temperature}`,
    ''
  ].join('\n')
}
