-- name: installation
-- The name of this database among all there are: of its cluster, and of itself within it.
SELECT format('%s-%s', system_identifier, (SELECT oid FROM pg_database WHERE datname = current_database()))
FROM pg_control_system();
