import { existsSync, readdirSync, renameSync } from 'node:fs'
import { join } from 'node:path'
import Database from 'better-sqlite3'
import { describe, expect, test } from 'vitest'
import { migrateTo, openDb } from '../../src/main/data/store/db.ts'
import { MIGRATIONS } from '../../src/main/data/store/migrations/index.ts'
import { workspace } from './workspace.ts'

const schemaOf = (db: Database.Database): unknown =>
  db.prepare(`SELECT type, name, sql FROM sqlite_master WHERE name NOT LIKE 'sqlite_%' ORDER BY type, name`).all()

/** What a person had at each version; every later one must still hold it. */
const KEPT = [
  {
    since: 1,
    put: `INSERT INTO runs (number, id, kind, name, input, folder, state, created_at) VALUES (7, 'r', 'sft', 'old', '{}', '/f', 'ended', 5);
          INSERT INTO events VALUES (7, 1, 5, 'step', 1, '{"kind":"step"}');
          INSERT INTO metrics VALUES (1, 'loss')`,
    get: `SELECT runs.name, step FROM runs JOIN events ON run = number`,
    is: { name: 'old', step: 1 }
  },
  {
    since: 2,
    put: `INSERT INTO datasets (number, id, name, purpose, format, rows, duplicates, path, origin, created_at, ready)
            VALUES (3, 'd', 'data', 'tasks', 'gsm8k', 1, 0, '/d', 'd', 5, 1);
          INSERT INTO dataset_rows VALUES (1, 3, 0, x'00', 0, '{}'); INSERT INTO dataset_text (rowid, said) VALUES (1, 'seven apples')`,
    get: `SELECT name, (SELECT rowid FROM dataset_text WHERE dataset_text MATCH 'apples') AS found FROM datasets`,
    is: { name: 'data', found: 1 }
  },
  {
    since: 3,
    put: `INSERT INTO traces VALUES ('t', 'title', 'p', '[]', 5, NULL)`,
    get: `SELECT title FROM traces`,
    is: { title: 'title' }
  }
]

describe.each(MIGRATIONS.map((_, i) => i + 1))('a record of version %i', (version) => {
  test('becomes the newest with everything in it, and a copy from before is kept', () => {
    const folder = workspace()
    openDb(folder).close() // makes the folders
    const path = join(folder, 'reasonsmith.db')
    const old = new Database(join(folder, 'old.db'))
    migrateTo(old, version)
    const held = KEPT.filter(({ since }) => since <= version)
    for (const { put } of held) old.exec(put)
    old.exec(`VACUUM INTO '${path}.old'`)
    old.close()
    const fresh = new Database(':memory:')
    migrateTo(fresh, MIGRATIONS.length)
    for (const end of ['-wal', '-shm', '']) if (existsSync(path + end)) new Database(path).close()
    // The old file takes the place of the new one.
    const db = new Database(path)
    db.pragma('journal_mode = DELETE')
    db.close()
    renameSync(`${path}.old`, path)

    const opened = openDb(folder)
    try {
      expect(opened.db.pragma('user_version', { simple: true })).toBe(MIGRATIONS.length)
      expect(schemaOf(opened.db)).toEqual(schemaOf(fresh))
      for (const { get, is } of held) expect(opened.db.prepare(get).get()).toEqual(is)
      const backups = readdirSync(join(folder, 'backups')).filter((name) => name.endsWith('.db'))
      expect(backups).toHaveLength(version < MIGRATIONS.length ? 1 : 0)
      expect(opened.notices.length).toBe(version < MIGRATIONS.length ? 1 : 0)
    } finally {
      opened.close()
    }
  })
})

test('a record of a newer program is refused and not touched', () => {
  const folder = workspace()
  const opened = openDb(folder)
  opened.db.pragma(`user_version = ${MIGRATIONS.length + 1}`)
  opened.close()
  expect(() => openDb(folder)).toThrow(/version 4, this program knows 3/)
  const db = new Database(join(folder, 'reasonsmith.db'), { readonly: true })
  expect(db.pragma('user_version', { simple: true })).toBe(MIGRATIONS.length + 1)
  db.close()
})
