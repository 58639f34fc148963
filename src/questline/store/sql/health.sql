-- name: server
-- Which server this is, whom we are logged in as, and whether row-level security binds us.
SELECT current_setting('server_version_num')::integer AS server_version, clock_timestamp() AS server_time,
       r.rolname AS role, r.rolsuper OR r.rolbypassrls AS role_is_unbound
FROM pg_roles r WHERE r.rolname = current_user;

-- name: takes_no_writes
-- Whether the server takes no writes: it is a standby, or was told so.
SELECT current_setting('transaction_read_only') = 'on';

-- name: configuration
-- Settings of the server that Questline's promises and its number of processes hang on.
SELECT current_setting('fsync') AS fsync, current_setting('full_page_writes') AS full_page_writes,
       current_setting('synchronous_commit') AS synchronous_commit,
       current_setting('max_connections')::integer - current_setting('superuser_reserved_connections')::integer
           AS connections_max,
       (SELECT sum(numbackends)::integer FROM pg_stat_database) AS connections,
       (SELECT count(*)::integer FROM api_processes WHERE expires_at > clock_timestamp()) AS api_processes,
       pg_database_size(current_database()) AS database_bytes;

-- name: workers
-- How many workers live, by version.
SELECT coalesce(version, 'unknown') AS version, count(*)::integer AS workers
FROM workers WHERE expires_at > clock_timestamp() GROUP BY 1 ORDER BY 1;

-- name: stuck
-- Partitions in which events wait and on which nobody may work now. $1 partitions.
SELECT p.partition
FROM unnest($1::smallint[]) AS p (partition)
WHERE EXISTS (SELECT FROM outbox o WHERE o.partition = p.partition)
    AND NOT EXISTS (SELECT FROM partition_leases l WHERE l.partition = p.partition AND l.expires_at > clock_timestamp())
ORDER BY p.partition;

-- name: newest
-- When the newest event was received, by the API's clock, and the latest time that its sender gave one, of up to $1 projects.
SELECT max(e.received_at) AS received_at, max(e.occurred_at) AS occurred_at
FROM (SELECT id FROM projects ORDER BY id DESC LIMIT $1) AS p
CROSS JOIN LATERAL (SELECT received_at, occurred_at FROM events WHERE project_id = p.id ORDER BY id DESC LIMIT 1) AS e;

-- name: parked_since
-- Since when the user has been parked who has been so longest.
SELECT min(since) FROM parked_users;
