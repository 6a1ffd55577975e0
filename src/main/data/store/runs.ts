/** Runs and their queue as rows. What is momentary (phase, progress) is not here: the queue holds it in memory. */
import type { Db } from './db.ts'

export type RunRow = {
  readonly number: number
  readonly id: string
  readonly kind: string
  readonly name: string
  /** The job's input as JSON. */
  readonly input: string
  /** The recipe as it was written; '' for jobs without one. */
  readonly recipe: string
  readonly folder: string
  readonly base: string | null
  readonly parent: string | null
  readonly state: 'held' | 'queued' | 'running' | 'ended'
  readonly place: number
  /** 1: continue from the last checkpoint. */
  readonly resume: number
  readonly how: 'done' | 'stopped' | 'cancelled' | 'failed' | 'crashed' | null
  readonly reason: string | null
  readonly hint: string | null
  readonly resumable: number
  /** JSON: where each stage of a run of several stages starts counting its steps. */
  readonly stages: string
  readonly headline: string
  readonly result: string | null
  readonly notes: string
  readonly tags: string
  readonly seen: number
  readonly created_at: number
  readonly started_at: number | null
  readonly ended_at: number | null
  readonly trashed_at: number | null
}
export type NewRun = Pick<
  RunRow,
  'id' | 'kind' | 'name' | 'input' | 'recipe' | 'folder' | 'base' | 'parent' | 'created_at'
>
type Changeable = Omit<RunRow, 'number' | 'id' | 'kind'>

export type RunStore = {
  /** Adds a run at the end of the queue. */
  readonly add: (run: NewRun) => RunRow
  readonly get: (id: string) => RunRow | undefined
  readonly change: (id: string, values: Partial<Changeable>) => void
  /** Runs that wait, those that are held among them, in the queue's order. */
  readonly waiting: () => readonly RunRow[]
  readonly withState: (state: RunRow['state']) => readonly RunRow[]
  /** Moves a waiting run to a place among those that wait. */
  readonly move: (id: string, place: number) => void
  readonly list: (asked: ListRequest) => { readonly rows: readonly RunRow[]; readonly total: number }
  readonly endedUnseen: () => readonly RunRow[]
  readonly markSeen: () => void
  readonly count: () => number
  readonly byFolder: (folder: string) => RunRow | undefined
  readonly delete: (id: string) => void
}
export type ListRequest = {
  readonly offset: number
  readonly limit: number
  readonly search: string
  readonly kind?: string | undefined
  readonly trashed: boolean
}

const CHANGEABLE: ReadonlySet<string> = new Set<keyof Changeable>([
  'name', 'input', 'recipe', 'folder', 'base', 'parent', 'state', 'place', 'resume', 'how', 'reason', 'hint', 'resumable',
  'stages', 'headline', 'result', 'notes', 'tags', 'seen', 'created_at', 'started_at', 'ended_at', 'trashed_at'
]) // prettier-ignore

export function runStore(db: Db): RunStore {
  const get = db.prepare('SELECT * FROM runs WHERE id = ?')
  const add = db.prepare(
    `INSERT INTO runs (id, kind, name, input, recipe, folder, base, parent, created_at, state, place)
     VALUES (@id, @kind, @name, @input, @recipe, @folder, @base, @parent, @created_at, 'queued',
             (SELECT coalesce(max(place), 0) + 1 FROM runs WHERE state IN ('queued', 'held')))`
  )
  const waiting = db.prepare(
    `SELECT * FROM runs WHERE state IN ('queued', 'held') AND trashed_at IS NULL ORDER BY place, number`
  )
  const place = db.prepare('UPDATE runs SET place = ? WHERE id = ?')
  const filter = `(@trashed = (trashed_at IS NOT NULL)) AND (@kind IS NULL OR kind = @kind)
    AND (@search = '' OR name LIKE @like ESCAPE '\\' OR tags LIKE @like ESCAPE '\\' OR notes LIKE @like ESCAPE '\\')`
  const list = db.prepare(
    `SELECT * FROM runs WHERE ${filter} ORDER BY created_at DESC, number DESC LIMIT @limit OFFSET @offset`
  )
  const total = db.prepare(`SELECT count(*) FROM runs WHERE ${filter}`).pluck()

  return {
    add: (run) => {
      add.run(run)
      return get.get(run.id) as RunRow
    },
    get: (id) => get.get(id) as RunRow | undefined,
    change: (id, values) => {
      const names = Object.keys(values).filter((name) => CHANGEABLE.has(name))
      if (names.length === 0) return
      db.prepare(`UPDATE runs SET ${names.map((name) => `${name} = @${name}`).join(', ')} WHERE id = @id`).run({
        ...values,
        id
      })
    },
    waiting: () => waiting.all() as RunRow[],
    withState: (state) => db.prepare('SELECT * FROM runs WHERE state = ? ORDER BY number').all(state) as RunRow[],
    move: db.transaction((id: string, to: number) => {
      const order = (waiting.all() as RunRow[]).map((run) => run.id)
      const rest = order.filter((other) => other !== id)
      if (rest.length === order.length) return
      rest.splice(Math.min(to, rest.length), 0, id)
      rest.forEach((other, i) => place.run(i + 1, other))
    }),
    list: ({ offset, limit, search, kind, trashed }) => {
      const like = `%${search.replaceAll(/[\\%_]/g, '\\$&')}%`
      const asked = { search, like, kind: kind ?? null, trashed: trashed ? 1 : 0 }
      return { rows: list.all({ ...asked, offset, limit }) as RunRow[], total: Number(total.get(asked)) }
    },
    endedUnseen: () =>
      db
        .prepare(
          `SELECT * FROM runs WHERE state = 'ended' AND seen = 0 AND trashed_at IS NULL ORDER BY ended_at DESC LIMIT 50`
        )
        .all() as RunRow[],
    markSeen: () => void db.prepare(`UPDATE runs SET seen = 1 WHERE state = 'ended' AND seen = 0`).run(),
    count: () => Number(db.prepare('SELECT count(*) FROM runs').pluck().get()),
    byFolder: (folder) =>
      db.prepare('SELECT * FROM runs WHERE folder = ? ORDER BY number DESC LIMIT 1').get(folder) as RunRow | undefined,
    delete: (id) => void db.prepare('DELETE FROM runs WHERE id = ?').run(id)
  }
}
