/** Verdicts a person gave by hand. They stand beside what the run recorded, which is never changed. */
import type { Db } from './db.ts'

export type HandVerdict = 'correct' | 'wrong' | 'unreadable'
export type Judged = {
  readonly taskset: string
  readonly task: string
  readonly policy: string
  /** The run of the evaluation, from 0. */
  readonly repeat: number
  readonly verdict: HandVerdict
}

export type JudgementStore = {
  readonly of: (run: number) => readonly Judged[]
  /** null takes a verdict back. */
  readonly set: (run: number, judged: Omit<Judged, 'verdict'> & { readonly verdict: HandVerdict | null }) => void
}

export function judgementStore(db: Db): JudgementStore {
  const all = db.prepare('SELECT taskset, task, policy, repeat, verdict FROM judgements WHERE run = ?')
  const put = db.prepare(
    'INSERT OR REPLACE INTO judgements VALUES (@run, @taskset, @task, @policy, @repeat, @verdict, @at)'
  )
  const drop = db.prepare(
    'DELETE FROM judgements WHERE run = @run AND taskset = @taskset AND task = @task AND policy = @policy AND repeat = @repeat'
  )
  return {
    of: (run) => all.all(run) as Judged[],
    set: (run, { verdict, ...about }) =>
      void (verdict === null ? drop.run({ run, ...about }) : put.run({ run, ...about, verdict, at: Date.now() }))
  }
}
