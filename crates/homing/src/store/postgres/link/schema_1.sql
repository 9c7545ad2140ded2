-- Version 1. All instants are microseconds since the Unix epoch; states and the like are the codes of
-- the enums in the source. Every table that a job has rows in has the job's id first in its key, so that
-- all of them can be partitioned or distributed by it. There are no foreign keys: the verbs keep the
-- rows together, and a check of each would lock the parent's row for every child.

-- What a task is from its birth on, and what people ask of its job where it is a root. Never updated, but
-- when `prune` begins with a large job, so it gathers no dead rows.
CREATE TABLE homing.tasks (
  job uuid NOT NULL,
  local uuid NOT NULL,
  parent uuid,
  "set" uuid,
  number bigint,
  placed boolean NOT NULL,       -- whether the key is not the set's and the number
  depth integer NOT NULL,
  kind text NOT NULL,
  queue text NOT NULL,
  priority smallint NOT NULL,
  hash uuid NOT NULL,
  created bigint NOT NULL,
  key text,                      -- a root's: unique among open jobs
  policy text,
  origin_job uuid,               -- the task that detached a root
  origin_local uuid,
  title text,
  tags text[],
  pruning boolean,               -- whether prune has begun to remove the job
  bundle uuid,                   -- the bundle it was born in: its first task's local, of roots the job
  arguments text NOT NULL,
  PRIMARY KEY (job, local)
);
CREATE INDEX placed ON homing.tasks (job, "set", number, local) WHERE placed;
CREATE INDEX submitted ON homing.tasks (created DESC, job DESC) WHERE parent IS NULL;

-- The task as it moves: one narrow row per open task, and none of ended ones. The only table whose rows
-- change more than once or twice, and it stays as small as the work at hand.
CREATE TABLE homing.open (
  job uuid NOT NULL,
  local uuid NOT NULL,
  parent uuid,
  "set" uuid,
  depth integer NOT NULL,
  state smallint NOT NULL,
  priority smallint NOT NULL,
  attempt integer NOT NULL,
  failures integer NOT NULL,
  crashes integer NOT NULL,
  stalls integer NOT NULL,
  lines integer NOT NULL,
  due bigint NOT NULL,
  claim bigint,
  worker uuid,
  started bigint,
  expires bigint,
  deadline bigint,
  timer bigint,                  -- when the store must look at the task though nobody claims it
  parked_claim bigint,
  parked_worker uuid,
  held_until bigint,             -- until when resumed work is the holder's alone
  holder uuid,                   -- the worker that keeps the future
  dropped bigint NOT NULL,
  progress_done bigint,
  progress_total bigint,
  signalled boolean NOT NULL,    -- whether a signal was ever sent to it
  queue text NOT NULL,
  kind text NOT NULL,
  key text,
  wait_sets uuid[],              -- the sets its waits name
  wait_children uuid[],          -- the single children its waits name
  waits text,
  reason text,
  PRIMARY KEY (job, local)
) WITH (
  fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 2000,
  autovacuum_analyze_scale_factor = 0.2, autovacuum_analyze_threshold = 5000,
  autovacuum_vacuum_cost_delay = 0
);
CREATE INDEX ready ON homing.open (queue, kind, priority DESC, due, job, local)
  WHERE state = 0 AND crashes < 2;
CREATE INDEX suspects ON homing.open (queue, kind, priority DESC, due, job, local)
  WHERE state = 0 AND crashes >= 2;
CREATE INDEX held ON homing.open (held_until) WHERE state = 0 AND holder IS NOT NULL;
CREATE INDEX running ON homing.open (worker, claim, job) WHERE state = 1;
CREATE INDEX waiting ON homing.open (job) WHERE state = 2;
CREATE INDEX timers ON homing.open (timer) WHERE timer IS NOT NULL;

-- Tasks that were born together and of which none has yet done anything but run: one row for many, instead
-- of a row of each in `open`. Pending, or claimed whole by one worker under one number. A task is here, in
-- `open` or in `ended`, and in one of them only. Its key is its first task's.
CREATE TABLE homing.bundles (
  job uuid NOT NULL,
  local uuid NOT NULL,
  parent uuid,                   -- of children, all of one set; NULL: roots
  "set" uuid,
  depth integer NOT NULL,
  priority smallint NOT NULL,
  here integer NOT NULL,         -- how many of the members are still here
  due bigint NOT NULL,
  claim bigint,                  -- NULL: pending
  worker uuid,
  started bigint,
  queue text NOT NULL,
  kind text NOT NULL,
  gone bytea NOT NULL,           -- a bit for each member that has left
  members uuid[] NOT NULL,       -- in order: the locals of children, the jobs of roots
  PRIMARY KEY (job, local)
) WITH (
  fillfactor = 50, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000,
  autovacuum_vacuum_cost_delay = 0
);
CREATE INDEX bundles_ready ON homing.bundles (queue, kind, priority DESC, due, job, local)
  WHERE worker IS NULL;
CREATE INDEX bundles_running ON homing.bundles (worker, claim) WHERE worker IS NOT NULL;

-- How a task ended. Written once.
CREATE TABLE homing.ended (
  job uuid NOT NULL,
  local uuid NOT NULL,
  "set" uuid,
  "end" bigint,                  -- its number among the ended children of its set
  state smallint NOT NULL,
  cancelled_by smallint,
  attempt integer NOT NULL,
  failures integer NOT NULL,
  crashes integer NOT NULL,
  lines integer NOT NULL,
  stalls integer NOT NULL,
  due bigint NOT NULL,
  started bigint,
  expires bigint,
  deadline bigint,
  ended bigint NOT NULL,
  dropped bigint NOT NULL,
  progress_done bigint,
  progress_total bigint,
  reason text,
  cause text,
  outcome text NOT NULL,
  PRIMARY KEY (job, local)
);
CREATE INDEX ends ON homing.ended (job, "set", "end") WHERE "end" IS NOT NULL;
-- Which children of a wide task failed or were cancelled: what people ask of it.
CREATE INDEX fallen ON homing.ended (job, "set", state, local) WHERE state >= 4 AND "set" IS NOT NULL;
CREATE INDEX settled ON homing.ended (ended, job) WHERE "set" IS NULL;

-- The counts of a set. A job's counts are the sum over its sets, so no row is written by everybody.
CREATE TABLE homing.sets (
  job uuid NOT NULL,
  task uuid NOT NULL,
  "set" uuid NOT NULL,
  spawned bigint NOT NULL,
  succeeded bigint NOT NULL,
  failed bigint NOT NULL,
  cancelled bigint NOT NULL,
  aborted bigint NOT NULL,
  last_end bigint NOT NULL,
  PRIMARY KEY (job, task, "set")
) WITH (
  fillfactor = 50, autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_threshold = 2000,
  autovacuum_vacuum_cost_delay = 0
);
CREATE INDEX failed ON homing.sets (job) WHERE failed > 0;

CREATE TABLE homing.records (
  job uuid NOT NULL,
  task uuid NOT NULL,
  seq bigint NOT NULL,
  place text NOT NULL,
  entry text NOT NULL,
  PRIMARY KEY (job, task, seq)
);

CREATE TABLE homing.signals (
  job uuid NOT NULL,
  task uuid NOT NULL,
  number bigint NOT NULL,
  name text NOT NULL,
  value text NOT NULL,
  PRIMARY KEY (job, task, number)
);

CREATE TABLE homing.logs (
  job uuid NOT NULL,
  number bigint NOT NULL,
  task uuid NOT NULL,
  key text NOT NULL,             -- the line's identity within its task
  time bigint NOT NULL,
  level smallint NOT NULL,
  message text NOT NULL,
  PRIMARY KEY (job, number)
);
CREATE UNIQUE INDEX said ON homing.logs (job, task, key);

-- The identities of lines beyond a task's limit, so that a replay does not count them again.
CREATE TABLE homing.unsaid (
  job uuid NOT NULL,
  task uuid NOT NULL,
  key text NOT NULL,
  PRIMARY KEY (job, task, key)
);

-- Cancellations on their way down.
CREATE TABLE homing.cascades (
  job uuid NOT NULL,
  number bigint NOT NULL,
  task uuid NOT NULL,
  "set" uuid,                    -- NULL: every set of the task
  below bigint NOT NULL,
  by smallint NOT NULL,
  PRIMARY KEY (job, number)
);
CREATE INDEX cascading ON homing.cascades (number);

-- Tasks that were ended under a worker's hands, until it has said that it knows.
CREATE TABLE homing.notices (
  job uuid NOT NULL,
  number bigint NOT NULL,
  worker uuid NOT NULL,
  local uuid NOT NULL,
  claim bigint NOT NULL,
  told bigint,                   -- the exchange in whose reply it was first told
  PRIMARY KEY (job, number)
);
CREATE INDEX untold ON homing.notices (worker, number);

-- Numbers cascades, signals and notices in the order in which they were made.
CREATE SEQUENCE homing.numbers;

-- What belongs to no job.
CREATE TABLE homing.keys (key text PRIMARY KEY, job uuid NOT NULL);

CREATE TABLE homing.workers (
  id uuid PRIMARY KEY,
  heartbeat bigint NOT NULL,
  lease bigint NOT NULL,
  started bigint NOT NULL,
  slots integer NOT NULL,
  running integer NOT NULL,
  resident integer NOT NULL,
  ended bigint NOT NULL,
  name text NOT NULL,
  kinds text[] NOT NULL,
  queues text[] NOT NULL
) WITH (fillfactor = 50);

CREATE TABLE homing.kinds (name text PRIMARY KEY, arguments text[] NOT NULL);
CREATE TABLE homing.paused (queue text PRIMARY KEY);
