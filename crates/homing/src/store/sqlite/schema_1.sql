-- Version 1. All instants are microseconds since the Unix epoch; states and the like are the codes of
-- the enums in the source. A task's key is its job and its place in the job: the numbered children of a
-- set are neighbours.

-- With rowids, although it has a key of its own: rows lie in the order of birth, so that batches write
-- neighbouring pages even where ids are random. Measured against WITHOUT ROWID: as fast for ids that
-- sort by time, twice as fast for random ones, a fifth larger.
CREATE TABLE tasks (
  job BLOB NOT NULL,
  local BLOB NOT NULL,
  parent BLOB,
  "set" BLOB,
  number INTEGER,
  placed INTEGER,                -- 1 if the key is not the set's and the number
  depth INTEGER NOT NULL,
  state INTEGER NOT NULL,
  due INTEGER NOT NULL,
  worker BLOB,
  claim INTEGER,
  started INTEGER,
  attempt INTEGER NOT NULL,
  failures INTEGER NOT NULL,
  crashes INTEGER NOT NULL,
  stalls INTEGER NOT NULL,
  priority INTEGER NOT NULL,
  queue TEXT NOT NULL,
  kind TEXT NOT NULL,
  "key" TEXT,                    -- a root's: unique among open jobs
  expires INTEGER,
  deadline INTEGER,
  timer INTEGER,                 -- when the store must look at the task though nobody claims it
  parked_worker BLOB,
  parked_claim INTEGER,
  holder BLOB,                   -- the worker that keeps the future
  held_until INTEGER,            -- until when resumed work is the holder's alone
  "end" INTEGER,                 -- its number among the ended children of its set
  cancelled_by INTEGER,
  lines INTEGER NOT NULL,
  dropped INTEGER NOT NULL,
  progress_done INTEGER,
  progress_total INTEGER,
  created INTEGER NOT NULL,
  ended INTEGER,
  hash BLOB NOT NULL,
  policy TEXT,
  waits TEXT,
  cause TEXT,
  reason TEXT,
  arguments TEXT NOT NULL,
  outcome TEXT,
  PRIMARY KEY (job, local)
) STRICT;

-- Every index is partial: it holds what is open or what is rare, so that ten million finished rows
-- cost a claim nothing.
CREATE INDEX ready ON tasks (queue, kind, priority DESC, due, job, local, crashes, holder, held_until)
  WHERE state = 0;
CREATE INDEX held ON tasks (held_until, holder, queue, kind, crashes)
  WHERE state = 0 AND holder IS NOT NULL;
CREATE INDEX running ON tasks (worker, claim) WHERE state = 1;
CREATE INDEX waiting ON tasks (job) WHERE state = 2;
CREATE INDEX timers ON tasks (timer) WHERE timer IS NOT NULL;
CREATE INDEX placed ON tasks (job, "set", number, local) WHERE placed = 1;
CREATE INDEX ends ON tasks (job, "set", "end") WHERE "end" IS NOT NULL;
CREATE INDEX settled ON tasks (ended, job) WHERE parent IS NULL AND ended IS NOT NULL;

-- What only people ask of a job; the rest is its root's. In the order of submission.
CREATE TABLE jobs (
  created INTEGER NOT NULL,
  id BLOB NOT NULL,
  title TEXT,
  tags TEXT,
  origin_job BLOB,
  origin_local BLOB,
  errors INTEGER NOT NULL,       -- 1 if a task below the root failed
  pruning INTEGER NOT NULL,      -- 1 once prune has begun to remove it
  PRIMARY KEY (created, id)
) STRICT, WITHOUT ROWID;

CREATE TABLE keys ("key" TEXT PRIMARY KEY, job BLOB NOT NULL) STRICT, WITHOUT ROWID;

CREATE TABLE sets (
  job BLOB NOT NULL,
  task BLOB NOT NULL,
  "set" BLOB NOT NULL,
  spawned INTEGER NOT NULL,
  succeeded INTEGER NOT NULL,
  failed INTEGER NOT NULL,
  cancelled INTEGER NOT NULL,
  aborted INTEGER NOT NULL,
  last_end INTEGER NOT NULL,
  PRIMARY KEY (job, task, "set")
) STRICT, WITHOUT ROWID;

CREATE TABLE records (
  job BLOB NOT NULL,
  task BLOB NOT NULL,
  seq INTEGER NOT NULL,
  place TEXT NOT NULL,
  entry TEXT NOT NULL,
  PRIMARY KEY (job, task, seq)
) STRICT, WITHOUT ROWID;

CREATE TABLE signals (
  job BLOB NOT NULL,
  task BLOB NOT NULL,
  number INTEGER NOT NULL,
  name TEXT NOT NULL,
  value TEXT NOT NULL,
  PRIMARY KEY (job, task, number)
) STRICT, WITHOUT ROWID;

CREATE TABLE logs (
  job BLOB NOT NULL,
  number INTEGER NOT NULL,
  task BLOB NOT NULL,
  "key" TEXT NOT NULL,           -- the line's identity within its task
  time INTEGER NOT NULL,
  level INTEGER NOT NULL,
  message TEXT NOT NULL,
  PRIMARY KEY (job, number)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX said ON logs (job, task, "key");

-- The identities of lines beyond a task's limit, so that a replay does not count them again.
CREATE TABLE unsaid (
  job BLOB NOT NULL,
  task BLOB NOT NULL,
  "key" TEXT NOT NULL,
  PRIMARY KEY (job, task, "key")
) STRICT, WITHOUT ROWID;

-- Cancellations on their way down, and how far they have come.
CREATE TABLE cascades (
  number INTEGER PRIMARY KEY,
  job BLOB NOT NULL,
  task BLOB NOT NULL,
  "set" BLOB,                    -- NULL: every set of the task
  below INTEGER NOT NULL,
  by INTEGER NOT NULL,
  at_set BLOB,                   -- the last child looked at
  at_number INTEGER,
  at_local BLOB
) STRICT;

CREATE TABLE workers (
  id BLOB PRIMARY KEY,
  name TEXT NOT NULL,
  kinds TEXT NOT NULL,
  queues TEXT NOT NULL,
  slots INTEGER NOT NULL,
  running INTEGER NOT NULL,
  resident INTEGER NOT NULL,
  started INTEGER NOT NULL,
  heartbeat INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Tasks that were ended under a worker's hands, until it says that it heard of it.
CREATE TABLE notices (
  worker BLOB NOT NULL,
  number INTEGER NOT NULL,
  job BLOB NOT NULL,
  local BLOB NOT NULL,
  claim INTEGER NOT NULL,
  told INTEGER,                  -- the exchange whose reply said so first
  PRIMARY KEY (worker, number)
) STRICT, WITHOUT ROWID;

CREATE TABLE kinds (name TEXT PRIMARY KEY, arguments TEXT NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE paused (queue TEXT PRIMARY KEY) STRICT, WITHOUT ROWID;
