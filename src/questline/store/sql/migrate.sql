-- name: lock
-- Held until the connection ends, so that one process migrates at a time.
SELECT pg_advisory_lock($1);

-- name: create_table
-- Where applied migrations are remembered.
CREATE TABLE IF NOT EXISTS schema_migrations (
    name        text NOT NULL,
    checksum    text NOT NULL,
    applied_at  timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT schema_migrations_pk PRIMARY KEY (name)
);
GRANT SELECT ON schema_migrations TO PUBLIC;

-- name: has_table
-- Whether any migration was ever applied.
SELECT to_regclass('schema_migrations') IS NOT NULL;

-- name: applied
-- Applied migrations by name.
SELECT name, checksum FROM schema_migrations;

-- name: record
-- Remember a migration. $1 name, $2 SHA-256 of the file.
INSERT INTO schema_migrations (name, checksum) VALUES ($1, $2);

-- name: make_partitions
-- Create a month's partitions where they are missing. $1 a day of the month.
SELECT make_partitions($1);

-- name: tables_among
-- Which of these tables exist. $1 names.
SELECT c.relname AS name FROM pg_class c WHERE c.oid = ANY (SELECT to_regclass(n) FROM unnest($1::text[]) AS n);
