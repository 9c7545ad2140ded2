-- Makes hash partitions by job of the tables of a store, while no worker runs. Run it once, as the owner of
-- the tables, after `homing store migrate`, and grant the workers' role its rights anew. The schema and
-- the number of partitions are to be set here.
BEGIN;
SET LOCAL search_path = homing;
DO $$
DECLARE
  partitions CONSTANT integer := 8;
  name text;
  settings text;
BEGIN
  FOREACH name IN ARRAY ARRAY['tasks', 'open', 'bundles', 'ended', 'sets', 'records', 'signals', 'logs',
      'unsaid', 'cascades', 'notices', 'watchers'] LOOP
    SELECT 'WITH (' || array_to_string(reloptions, ', ') || ')' INTO settings
      FROM pg_class WHERE oid = format('%I', name)::regclass;
    EXECUTE format('ALTER TABLE %I RENAME TO whole', name);
    EXECUTE format('CREATE TABLE %I (LIKE whole INCLUDING ALL) PARTITION BY HASH (job)', name);
    -- Into the partitions, so that a job that is there after all is not lost.
    FOR part IN 0 .. partitions - 1 LOOP
      EXECUTE format('CREATE TABLE %I PARTITION OF %I FOR VALUES WITH (MODULUS %s, REMAINDER %s) %s',
        name || '_' || part, name, partitions, part, coalesce(settings, ''));
    END LOOP;
    EXECUTE format('INSERT INTO %I SELECT * FROM whole', name);
    DROP TABLE whole;
  END LOOP;
END $$;
COMMIT;
