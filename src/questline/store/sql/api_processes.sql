-- API processes that live, so that each knows its share of every limit.

-- name: announce
-- Say that this process lives, drop those that do not, and return how many live. $1 process, $2 seconds.
WITH gone AS (
    DELETE FROM api_processes WHERE expires_at < now() AND process <> $1
), here AS (
    INSERT INTO api_processes (process, expires_at) VALUES ($1, now() + make_interval(secs => $2))
    ON CONFLICT ON CONSTRAINT api_processes_pk DO UPDATE SET expires_at = excluded.expires_at
)
SELECT count(*) FROM (SELECT process FROM api_processes WHERE expires_at >= now() UNION SELECT $1) AS live;

-- name: leave
-- Give the share back at a clean end. $1 process.
DELETE FROM api_processes WHERE process = $1;
