/** Traces kept from the playground, and verdicts that a person gave by hand. */
export const TRACES = `
CREATE TABLE traces (
  id TEXT PRIMARY KEY,
  title TEXT NOT NULL,
  prompt TEXT NOT NULL,
  answers TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  removed_at INTEGER
) STRICT;
CREATE TABLE judgements (
  run INTEGER NOT NULL REFERENCES runs (number) ON DELETE CASCADE,
  taskset TEXT NOT NULL,
  task TEXT NOT NULL,
  policy TEXT NOT NULL,
  repeat INTEGER NOT NULL,
  verdict TEXT NOT NULL CHECK (verdict IN ('correct', 'wrong', 'unreadable')),
  judged_at INTEGER NOT NULL,
  PRIMARY KEY (run, taskset, task, policy, repeat)
) STRICT, WITHOUT ROWID;
`
