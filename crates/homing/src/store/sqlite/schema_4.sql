-- Version 4. The tags of a child: an array in JSON, where it has any. Those of a root are in `jobs`.
ALTER TABLE tasks ADD COLUMN tags TEXT;
