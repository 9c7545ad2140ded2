-- Version 3. Tasks that stand still, by job: what people ask of every open job. Hardly any task ever does,
-- so the index is empty most of the time.
CREATE INDEX stalled ON homing.open (job) WHERE stalls > 0;
