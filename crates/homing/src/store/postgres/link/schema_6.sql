-- Version 6. By which lock a worker's process shows that it lives, and under which run of the server it last said that it holds
-- it; none: the lease alone decides.
ALTER TABLE homing.workers ADD COLUMN session bigint, ADD COLUMN server bigint;
