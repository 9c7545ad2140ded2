-- Version 6. Of the children of a growing set those that its members have added, not the parent's own body.
ALTER TABLE sets ADD COLUMN added INTEGER NOT NULL DEFAULT 0;
-- How many were ever added, which numbers them.
ALTER TABLE sets ADD COLUMN last_added INTEGER NOT NULL DEFAULT 0;
