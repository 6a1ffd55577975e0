/** Datasets: their rows as JSON, a hash to find repeats by, and a full-text index over what is said in them. */
export const DATASETS = `
CREATE TABLE datasets (
  number INTEGER PRIMARY KEY,
  id TEXT NOT NULL UNIQUE,
  name TEXT NOT NULL,
  purpose TEXT NOT NULL CHECK (purpose IN ('traces', 'tasks')),
  format TEXT NOT NULL,
  rows INTEGER NOT NULL,
  duplicates INTEGER NOT NULL,
  path TEXT NOT NULL,
  origin TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  trashed_at INTEGER,
  ready INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE TABLE dataset_rows (
  row INTEGER PRIMARY KEY,
  dataset INTEGER NOT NULL REFERENCES datasets (number) ON DELETE CASCADE,
  place INTEGER NOT NULL,
  hash BLOB NOT NULL,
  repeats INTEGER NOT NULL DEFAULT 0,
  body TEXT NOT NULL
) STRICT;
CREATE UNIQUE INDEX dataset_rows_place ON dataset_rows (dataset, place);
CREATE INDEX dataset_rows_repeats ON dataset_rows (dataset, place) WHERE repeats = 1;
CREATE VIRTUAL TABLE dataset_text USING fts5 (said, content='', contentless_delete=1, tokenize="unicode61");
`
