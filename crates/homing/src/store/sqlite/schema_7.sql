-- Version 7. Whether a worker died that had fetched the task ahead of its slots: it may have begun, so the next worker that
-- takes it begins it at once.
ALTER TABLE tasks ADD COLUMN at_once INTEGER NOT NULL DEFAULT 0;
-- What is not fetched ahead.
CREATE INDEX direct ON tasks (due) WHERE state = 0 AND (crashes > 0 OR at_once);
