-- name: installation
-- The name of this database among all there are: of its cluster, and of itself within it.
SELECT format('%s-%s', system_identifier, (SELECT oid FROM pg_database WHERE datname = current_database()))
FROM pg_control_system();

-- name: history
-- The number of the history that is being written (the timeline of its log), and the server's clock in seconds.
SELECT left(pg_walfile_name(pg_current_wal_lsn()), 8) AS line, extract(epoch FROM clock_timestamp())::float8 AS at;
