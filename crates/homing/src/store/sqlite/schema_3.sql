-- Version 3. Tasks that wait for the end of another job. A row stays until that job ends, though its task
-- may have stopped waiting.
CREATE TABLE watchers (
  job BLOB NOT NULL,             -- the job that is waited for
  waiter_job BLOB NOT NULL,
  waiter BLOB NOT NULL,
  PRIMARY KEY (job, waiter_job, waiter)
) STRICT, WITHOUT ROWID;
