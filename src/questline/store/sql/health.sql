-- name: server
-- Which server this is, whom we are logged in as, and whether row-level security binds us.
SELECT current_setting('server_version_num')::integer AS server_version, clock_timestamp() AS server_time,
       r.rolname AS role, r.rolsuper OR r.rolbypassrls AS role_is_unbound
FROM pg_roles r WHERE r.rolname = current_user;

-- name: queue
-- How much waits (up to $1), since when, how many gave up (up to $1), and how many workers are alive.
SELECT (SELECT count(*) FROM (SELECT FROM outbox LIMIT $1) AS seen) AS waiting,
       (SELECT event_id FROM outbox ORDER BY event_id LIMIT 1) AS oldest_waiting,
       (SELECT count(*) FROM (SELECT FROM dead_letters LIMIT $1) AS seen) AS dead_letters,
       (SELECT count(*) FROM workers WHERE expires_at > clock_timestamp()) AS workers;
