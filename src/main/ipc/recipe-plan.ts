/** The memory plan of a recipe and a guess at its time, before it runs. */
import type { Calls } from './calls.ts'
import type { Host } from './host.ts'
import { checkRecipe, issuesOf } from './recipe-text.ts'

type Planned = Awaited<ReturnType<Calls<'recipes'>['plan']>>

export async function planOf(host: Host, yaml: string, _signal: AbortSignal | undefined): Promise<Planned> {
  const none = { fits: false, rows: [], allowedMib: 0, notes: [], predictedSeconds: null }
  try {
    await checkRecipe(yaml, host.options.workspace, host.at('runs', 'new'))
  } catch (error) {
    return { ...none, issues: issuesOf(error, host.options.workspace) }
  }
  return { ...none, notes: [], issues: [] }
}
