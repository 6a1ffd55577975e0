/** What can be done with a run, each with its words and its way back. */
import type { RunSummary } from '../../shared/contract/types.ts'
import { api } from '../lib/api.ts'
import { plural } from '../lib/format.ts'
import { router } from '../lib/router.svelte.ts'
import { app } from './app.svelte.ts'
import { attempt, toasts } from './toasts.svelte.ts'

const nameOf = (runs: readonly RunSummary[]): string =>
  runs.length === 1 ? `“${runs[0]!.name}”` : plural(runs.length, 'run')

/** For Undo: puts those of the runs that wait now back to where they wait now, once they were taken out of the queue. */
function backIntoQueue(runs: readonly RunSummary[]): () => Promise<void> {
  // By the runs' own state: the queue as the page knows it may be a moment old. A place it does not know is the last one.
  const placeOf = ({ id }: RunSummary): number => app.queue.waiting.findIndex((one) => one.id === id)
  const waited = runs
    .filter(({ state }) => state.kind === 'queued' || state.kind === 'held')
    .map((run) => ({ run, place: placeOf(run) }))
    .sort((a, b) => a.place - b.place)
  return async () => {
    for (const { run, place } of waited) {
      await api.runs.resume({ id: run.id })
      if (place >= 0) await api.runs.move({ id: run.id, place })
      if (run.state.kind === 'held') await api.runs.hold({ id: run.id, held: true })
    }
  }
}

/** Into the trash, with Undo. Answers whether it was done. */
export async function trashRuns(runs: readonly RunSummary[]): Promise<boolean> {
  const ids = runs.map(({ id }) => id)
  const wait = backIntoQueue(runs)
  const done = await attempt(() => api.runs.trash({ ids }))
  if (done)
    toasts.say(`${nameOf(runs)} ${runs.length === 1 ? 'is' : 'are'} in the trash.`, async () => {
      await api.runs.restore({ ids })
      await wait()
    })
  return done !== undefined
}

export async function restoreRuns(runs: readonly RunSummary[]): Promise<void> {
  const ids = runs.map(({ id }) => id)
  if (await attempt(() => api.runs.restore({ ids }))) toasts.say(`${nameOf(runs)} is back.`)
}

/** A run that waits has done nothing yet: it leaves the queue, with Undo. */
export async function takeOutOfQueue(run: RunSummary): Promise<void> {
  const wait = backIntoQueue([run])
  if (await attempt(() => api.runs.stop({ id: run.id, when: 'now' })))
    toasts.say(`“${run.name}” was taken out of the queue.`, wait)
}

export async function stopRun(run: RunSummary, when: 'now' | 'after_step'): Promise<void> {
  if (await attempt(() => api.runs.stop({ id: run.id, when })))
    toasts.say(
      when === 'now'
        ? `“${run.name}” stops now; its last checkpoint is kept.`
        : `“${run.name}” stops when its step is done, and saves it.`
    )
}

export async function resumeRun(run: RunSummary): Promise<void> {
  if (await attempt(() => api.runs.resume({ id: run.id })))
    toasts.say(`“${run.name}” waits in the queue and goes on from its last checkpoint.`)
}

/** The demo, into the queue; shows its page. */
export async function startDemo(short: boolean): Promise<void> {
  const run = await attempt(() => api.runs.start({ kind: 'demo', short }))
  if (run) router.go(['runs', run.id])
}

/** Runs with a recipe can be changed and started again. */
export const hasRecipe = (run: RunSummary): boolean => ['sft', 'grpo', 'evaluate'].includes(run.kind)
export const runAgain = (run: RunSummary): void => router.go('train', { from: run.id })
