-- Version 5. Whether a worker died that had fetched the task ahead of its slots: it may have begun, so the next worker that
-- takes it begins it at once.
ALTER TABLE homing.open ADD COLUMN at_once boolean NOT NULL DEFAULT false;

-- What may be fetched ahead, and what may not.
DROP INDEX homing.ready;
DROP INDEX homing.suspects;
CREATE INDEX ready ON homing.open (queue, kind, priority DESC, due, job, local)
  WHERE state = 0 AND crashes = 0 AND NOT at_once;
CREATE INDEX direct ON homing.open (queue, kind, priority DESC, due, job, local)
  WHERE state = 0 AND (crashes > 0 OR at_once);
