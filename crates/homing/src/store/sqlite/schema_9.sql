-- Version 9. In which seconds jobs of a kind were created, for lists of the jobs of one kind: one row for a second, however
-- many jobs. An index of `jobs` by kind cost a tenth of the throughput of small jobs.
DROP INDEX kinds_of_jobs;
CREATE TABLE kinds_by_second (
  kind TEXT NOT NULL,
  second INTEGER NOT NULL,       -- since the Unix epoch
  PRIMARY KEY (kind, second)
) STRICT, WITHOUT ROWID;
INSERT INTO kinds_by_second (kind, second)
  SELECT DISTINCT kind, created / 1000000 FROM jobs WHERE kind IS NOT NULL;

-- What each worker has done minute by minute, which the store does not look into. Kept for a while.
CREATE TABLE samples (
  minute INTEGER NOT NULL,
  worker BLOB NOT NULL,
  text TEXT NOT NULL,
  PRIMARY KEY (minute, worker)
) STRICT, WITHOUT ROWID;
