-- name: database_exists
-- Whether there is a database of this name.
SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1);

-- name: create_database
-- The name is our own, never a client's.
CREATE DATABASE "{name}";
