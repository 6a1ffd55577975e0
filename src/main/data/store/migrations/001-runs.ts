/**
 * Runs, their record, their queue. A run is known outside by `id`, inside by its number. `events` is the record; `coarse`
 * and `terminal` are derived from it as it is written, because a chart or a terminal must not read the whole.
 */
export const RUNS = `
CREATE TABLE runs (
  number INTEGER PRIMARY KEY,
  id TEXT NOT NULL UNIQUE,
  kind TEXT NOT NULL,
  name TEXT NOT NULL,
  input TEXT NOT NULL,
  recipe TEXT NOT NULL DEFAULT '',
  folder TEXT NOT NULL,
  base TEXT,
  parent TEXT,
  state TEXT NOT NULL CHECK (state IN ('held', 'queued', 'running', 'ended')),
  place INTEGER NOT NULL DEFAULT 0,
  resume INTEGER NOT NULL DEFAULT 0,
  how TEXT,
  reason TEXT,
  hint TEXT,
  resumable INTEGER NOT NULL DEFAULT 0,
  stages TEXT NOT NULL DEFAULT '{}',
  headline TEXT NOT NULL DEFAULT '{}',
  result TEXT,
  notes TEXT NOT NULL DEFAULT '',
  tags TEXT NOT NULL DEFAULT '[]',
  seen INTEGER NOT NULL DEFAULT 0,
  created_at INTEGER NOT NULL,
  started_at INTEGER,
  ended_at INTEGER,
  trashed_at INTEGER
) STRICT;
CREATE INDEX runs_state ON runs (state, place);
CREATE INDEX runs_created ON runs (created_at);

CREATE TABLE events (
  run INTEGER NOT NULL REFERENCES runs (number) ON DELETE CASCADE,
  seq INTEGER NOT NULL,
  at INTEGER NOT NULL,
  kind TEXT NOT NULL,
  step INTEGER,
  body TEXT NOT NULL,
  PRIMARY KEY (run, seq)
) STRICT;
CREATE INDEX events_rare ON events (run, kind, step) WHERE kind IN ('sample', 'checkpoint', 'plan', 'end');

CREATE INDEX events_steps ON events (run, step) WHERE kind IN ('step', 'evaluation');

CREATE TABLE metrics (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE) STRICT;
CREATE TABLE coarse (
  run INTEGER NOT NULL REFERENCES runs (number) ON DELETE CASCADE,
  width INTEGER NOT NULL,
  bucket INTEGER NOT NULL,
  body BLOB NOT NULL,
  PRIMARY KEY (run, width, bucket)
) STRICT;

CREATE TABLE terminal (
  run INTEGER NOT NULL REFERENCES runs (number) ON DELETE CASCADE,
  seq INTEGER NOT NULL,
  line TEXT NOT NULL,
  PRIMARY KEY (run, seq)
) STRICT, WITHOUT ROWID;

CREATE TABLE settings (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
`
