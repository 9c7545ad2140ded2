-- Version 8. When an entry of a record was committed. NULL for what was written before.
ALTER TABLE records ADD COLUMN time INTEGER;

-- What a failed task has in common with those that failed alike; NULL for all others, and for one that was given another
-- task's failure and passed it on.
ALTER TABLE tasks ADD COLUMN fingerprint BLOB;
CREATE INDEX failures ON tasks (fingerprint, ended, job, local) WHERE fingerprint IS NOT NULL;

-- Roots that failed or were cancelled, and roots of a kind, in the order of lists of jobs: a filter that few jobs match does
-- not read past the others. The first holds what is rare; the second is one entry more for each job.
CREATE INDEX fallen_roots ON tasks (state, created, job) WHERE parent IS NULL AND state >= 4;
CREATE INDEX kinds_of_roots ON tasks (kind, created, job) WHERE parent IS NULL;
-- Jobs below whose roots a task has failed.
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
