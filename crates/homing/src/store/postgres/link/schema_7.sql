-- Version 7. When an entry of a record was committed. NULL for what was written before, and by older processes that still
-- write to a schema which a newer one has migrated.
ALTER TABLE homing.records ADD COLUMN time bigint;

-- What a failed task has in common with those that failed alike; NULL for all others, and for one that was given another
-- task's failure and passed it on.
ALTER TABLE homing.ended ADD COLUMN fingerprint uuid;
CREATE INDEX failures ON homing.ended (fingerprint, ended, job, local) WHERE fingerprint IS NOT NULL;

-- When a root was submitted that failed or was cancelled, and roots of a kind, in the order of lists of jobs: a filter that
-- few jobs match does not read past the others. The first holds what is rare; the second is one entry more for each job.
ALTER TABLE homing.ended ADD COLUMN created bigint;
UPDATE homing.ended AS e SET created = t.created FROM homing.tasks AS t
  WHERE e."set" IS NULL AND e.state >= 4 AND t.job = e.job AND t.local = e.local;
CREATE INDEX fallen_roots ON homing.ended (state, created DESC, job DESC) WHERE created IS NOT NULL;
CREATE INDEX kinds_of_roots ON homing.tasks (kind, created DESC, job DESC) WHERE parent IS NULL;

-- What people have done, and who. Kept for a while.
CREATE TABLE homing.actions (
  number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  time bigint NOT NULL,
  who text NOT NULL,
  verb text NOT NULL,
  target text NOT NULL,
  result text                    -- NULL until it is known
);
