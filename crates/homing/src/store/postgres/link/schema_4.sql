-- Version 4. Of the children of a growing set those that its members have added, not the parent's own body. The
-- default is for older processes that still write to a schema which a newer one has migrated.
ALTER TABLE homing.sets ADD COLUMN added bigint NOT NULL DEFAULT 0;
-- How many were ever added, which numbers them.
ALTER TABLE homing.sets ADD COLUMN last_added bigint NOT NULL DEFAULT 0;
