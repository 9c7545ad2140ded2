-- Makes a store of SQLite's look as version 1 left it: each migration backwards. For tests of migrations, whichever crate's.
DROP INDEX fallen;
ALTER TABLE workers DROP COLUMN ended;
ALTER TABLE tasks DROP COLUMN tags;
DROP TABLE watchers;
DROP INDEX stalled;
DROP INDEX direct;
ALTER TABLE tasks DROP COLUMN at_once;
ALTER TABLE sets DROP COLUMN added;
ALTER TABLE sets DROP COLUMN last_added;
DROP TABLE actions;
DROP TABLE failures;
DROP TABLE kinds_by_second;
DROP INDEX fallen_jobs;
DROP INDEX with_errors;
ALTER TABLE jobs DROP COLUMN kind;
ALTER TABLE jobs DROP COLUMN fallen;
ALTER TABLE records DROP COLUMN time;
PRAGMA user_version = 1;
