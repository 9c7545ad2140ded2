-- Version 2. What people ask of a wide task: which of its children failed or were cancelled. Holds only
-- those, and is written only when one ends so.
CREATE INDEX fallen ON tasks (job, parent, state, number) WHERE state >= 4 AND parent IS NOT NULL;

-- How many tasks a worker has ended, as of its last heartbeat: the throughput that people watch,
-- at the cost of a column in a row that is written anyway.
ALTER TABLE workers ADD COLUMN ended INTEGER NOT NULL DEFAULT 0;
