-- Version 8. What each worker has done minute by minute, which the store does not look into. Kept for a while.
CREATE TABLE homing.samples (
  minute bigint NOT NULL,
  worker uuid NOT NULL,
  text text NOT NULL,
  PRIMARY KEY (minute, worker)
);
