-- Version 8. When an entry of a record was committed. NULL for what was written before.
ALTER TABLE records ADD COLUMN time INTEGER;

-- Failed tasks by what they have in common with those that failed alike, but for those that were given another task's failure
-- and passed it on. A table of its own: a column and an index of `tasks` would be looked at as each task ends.
CREATE TABLE failures (
  job BLOB NOT NULL,
  local BLOB NOT NULL,
  fingerprint BLOB NOT NULL,
  ended INTEGER NOT NULL,
  PRIMARY KEY (job, local)
) STRICT, WITHOUT ROWID;
CREATE INDEX alike ON failures (fingerprint, ended, job, local);

-- Of the root, for lists of jobs: a filter that few jobs match does not read past the others. Not indexes of `tasks` either,
-- which would be looked at as the state of each task changes.
ALTER TABLE jobs ADD COLUMN kind TEXT;
ALTER TABLE jobs ADD COLUMN fallen INTEGER; -- the state of one that failed or was cancelled
UPDATE jobs SET kind = root.kind, fallen = iif(root.state >= 4, root.state, NULL)
  FROM tasks AS root WHERE root.job = jobs.id AND root.local = zeroblob(16) AND root.created = jobs.created;
CREATE INDEX kinds_of_jobs ON jobs (kind, created, id);
CREATE INDEX fallen_jobs ON jobs (fallen, created, id) WHERE fallen IS NOT NULL;
-- Below whose roots a task has failed.
CREATE INDEX with_errors ON jobs (created, id) WHERE errors = 1;

-- What people have done, and who. Kept for a while; numbers are never given twice.
CREATE TABLE actions (
  number INTEGER PRIMARY KEY AUTOINCREMENT,
  time INTEGER NOT NULL,
  who TEXT NOT NULL,
  verb TEXT NOT NULL,
  target TEXT NOT NULL,
  result TEXT                    -- NULL until it is known
) STRICT;
