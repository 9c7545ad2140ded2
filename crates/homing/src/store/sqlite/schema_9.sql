-- Version 9. What each worker has done minute by minute, which the store does not look into. Kept for a while.
CREATE TABLE samples (
  minute INTEGER NOT NULL,
  worker BLOB NOT NULL,
  text TEXT NOT NULL,
  PRIMARY KEY (minute, worker)
) STRICT, WITHOUT ROWID;
