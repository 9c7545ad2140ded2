-- Version 3. How many tasks a worker has ended, as of its last heartbeat: the throughput that people watch,
-- at the cost of a column in a row that is written anyway.
ALTER TABLE workers ADD COLUMN ended INTEGER NOT NULL DEFAULT 0;
