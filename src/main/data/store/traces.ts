/** Traces a person kept from the playground. Removing one can be undone: the row stays, marked. */
import { randomUUID } from 'node:crypto'
import type { SavedTrace } from '../../../shared/contract/play.ts'
import type { Db } from './db.ts'

export type TraceStore = {
  readonly add: (trace: Omit<SavedTrace, 'id' | 'createdAt'>) => SavedTrace
  readonly get: (id: string) => SavedTrace | undefined
  /** Newest first, those whose title, prompt or answers hold the text. */
  readonly list: (search: string) => SavedTrace[]
  readonly remove: (id: string) => boolean
  readonly undoRemove: (id: string) => boolean
}

type Row = { id: string; title: string; prompt: string; answers: string; created_at: number }
const MOST = 500

export function traceStore(db: Db): TraceStore {
  const insert = db.prepare('INSERT INTO traces (id, title, prompt, answers, created_at) VALUES (?, ?, ?, ?, ?)')
  const get = db.prepare('SELECT * FROM traces WHERE id = ? AND removed_at IS NULL')
  const list = db.prepare(
    `SELECT * FROM traces WHERE removed_at IS NULL
       AND (@like = '%%' OR title LIKE @like ESCAPE '\\' OR prompt LIKE @like ESCAPE '\\' OR answers LIKE @like ESCAPE '\\')
     ORDER BY created_at DESC, rowid DESC LIMIT ${MOST}`
  )
  const mark = db.prepare('UPDATE traces SET removed_at = ? WHERE id = ?')
  const traceOf = ({ created_at, answers, ...row }: Row): SavedTrace => ({
    id: row.id,
    title: row.title,
    prompt: row.prompt,
    createdAt: created_at,
    answers: JSON.parse(answers) as SavedTrace['answers']
  })
  return {
    add: ({ title, prompt, answers }) => {
      const id = randomUUID()
      insert.run(id, title, prompt, JSON.stringify(answers), Date.now())
      return traceOf(get.get(id) as Row)
    },
    get: (id) => {
      const row = get.get(id) as Row | undefined
      return row === undefined ? undefined : traceOf(row)
    },
    list: (search) => (list.all({ like: `%${search.replaceAll(/[\\%_]/g, '\\$&')}%` }) as Row[]).map(traceOf),
    remove: (id) => mark.run(Date.now(), id).changes > 0,
    undoRemove: (id) => mark.run(null, id).changes > 0
  }
}
