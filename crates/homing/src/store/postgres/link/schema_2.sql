-- Version 2. Tasks that wait for the end of another job. A row stays until that job ends, though its task
-- may have stopped waiting.
CREATE TABLE homing.watchers (
  job uuid NOT NULL,             -- the job that is waited for
  waiter_job uuid NOT NULL,
  waiter uuid NOT NULL,
  PRIMARY KEY (job, waiter_job, waiter)
);
