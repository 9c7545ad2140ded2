-- Version 5. Tasks that stand still, by job: what people ask of every open job. Hardly any task ever does,
-- so the index is empty most of the time, and the columns that a task's way changes are none of its.
CREATE INDEX stalled ON tasks (job) WHERE stalls > 0;
