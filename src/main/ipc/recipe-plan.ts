/** The memory plan of a recipe and its predicted time, before it runs. */
import type { Calls } from './calls.ts'
import type { Host } from './host.ts'
import { timePredictor } from './predicted-time.ts'
import { checkRecipe, issuesOf } from './recipe-text.ts'
import { onThisMachine } from './run-start.ts'

type Planned = Awaited<ReturnType<Calls<'recipes'>['plan']>>
type Memory = Pick<Planned, 'fits' | 'rows' | 'allowedMib' | 'notes'>

export function recipePlanner(host: Host): (yaml: string, signal: AbortSignal | undefined) => Promise<Planned> {
  const predict = timePredictor(host)
  return async (yaml, signal) => {
    try {
      const recipe = onThisMachine(
        host,
        (await checkRecipe(yaml, host.options.workspace, host.at('runs', 'new'))).recipe
      )
      const [memory, time] = await Promise.all([
        host.ask('plan', { recipe }, { signal }) as Promise<Memory>,
        predict(recipe)
      ])
      return { ...memory, time, issues: [] }
    } catch (error) {
      const issues = issuesOf(error, host.options.workspace)
      return { fits: false, rows: [], allowedMib: 0, notes: [], time: null, issues }
    }
  }
}
