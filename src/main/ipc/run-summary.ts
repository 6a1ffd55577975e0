/** A run's row and what is momentary about it, as pages see it. */
import type { RunState, RunSummary } from '../../shared/contract/runs.ts'
import type { FinetuningType } from '../../shared/recipe.ts'
import type { RunRow } from '../data/store/runs.ts'
import type { Host } from './host.ts'

export function stateOf(host: Host, row: RunRow): RunState {
  if (row.state === 'held') return { kind: 'held' }
  if (row.state === 'queued') return { kind: 'queued', place: placeOf(host, row.id) }
  if (row.state === 'running') {
    const live = host.queue.live(row.id)
    return live === null
      ? { kind: 'running', phase: 'starting', step: null, of: null, progress: null, remainingMs: null, stopping: false }
      : { kind: 'running', ...live }
  }
  return {
    kind: 'ended',
    how: row.how ?? 'crashed',
    reason: row.reason ?? '',
    hint: row.hint,
    resumable: row.resumable === 1
  }
}

const placeOf = (host: Host, id: string): number =>
  Math.max(
    0,
    host.store.runs
      .waiting()
      .filter(({ state }) => state === 'queued')
      .findIndex((run) => run.id === id)
  )

export function summaryOf(host: Host, row: RunRow): RunSummary {
  return {
    id: row.id,
    kind: row.kind as RunSummary['kind'],
    name: row.name,
    state: stateOf(host, row),
    notes: row.notes,
    tags: JSON.parse(row.tags) as string[],
    createdAt: row.created_at,
    startedAt: row.started_at,
    endedAt: row.ended_at,
    folder: row.folder,
    base: row.base,
    parent: row.parent,
    whole: trainsWhole(row),
    adapter: row.kind === 'export' ? handedOver(row) : null,
    headline: JSON.parse(row.headline) as Record<string, number>,
    trashedAt: row.trashed_at
  }
}

function trainsWhole({ kind, input }: RunRow): boolean {
  if (kind !== 'sft' && kind !== 'grpo') return false
  const asked = JSON.parse(input) as { input: { recipe?: { finetuning_type?: FinetuningType } } }
  return asked.input.recipe?.finetuning_type === 'full'
}

function handedOver({ input }: RunRow): string | null {
  const asked = JSON.parse(input) as { input: { adapter?: string } }
  return asked.input.adapter ?? null
}

export const queueState = (host: Host): { paused: boolean; running: RunSummary[]; waiting: RunSummary[] } => ({
  paused: host.queue.isPaused(),
  running: host.store.runs.withState('running').map((row) => summaryOf(host, row)),
  waiting: host.store.runs.waiting().map((row) => summaryOf(host, row))
})
