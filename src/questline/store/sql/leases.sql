-- name: announce
-- Say that this worker lives, drop workers that do not, and return how many live. $1 owner, $2 seconds, $3 version.
WITH gone AS (
    DELETE FROM workers WHERE expires_at < now() AND owner <> $1
), here AS (
    INSERT INTO workers (owner, expires_at, version) VALUES ($1, now() + make_interval(secs => $2), $3)
    ON CONFLICT ON CONSTRAINT workers_pk DO UPDATE SET expires_at = excluded.expires_at
)
SELECT count(*) FROM (SELECT owner FROM workers WHERE expires_at >= now() UNION SELECT $1) AS live;

-- name: renew
-- Prolong the leases this worker holds and give back those above its fair share. $1 owner, $2 seconds, $3 share.
-- Returns the partitions it still has.
WITH held AS (
    SELECT partition, row_number() OVER (ORDER BY partition) AS position
    FROM (SELECT partition FROM partition_leases WHERE owner = $1 AND expires_at >= now() FOR UPDATE) AS mine
), given_back AS (
    DELETE FROM partition_leases l USING held WHERE l.partition = held.partition AND held.position > $3
)
UPDATE partition_leases l SET expires_at = now() + make_interval(secs => $2)
FROM held WHERE l.partition = held.partition AND held.position <= $3
RETURNING l.partition;

-- name: acquire
-- Take up to $3 partitions that nobody holds. $1 owner, $2 seconds, $4 the number of partitions.
INSERT INTO partition_leases AS l (partition, owner, expires_at)
SELECT p::smallint, $1, now() + make_interval(secs => $2)
FROM generate_series(0, $4::integer - 1) AS p
WHERE NOT EXISTS (SELECT FROM partition_leases h WHERE h.partition = p AND h.expires_at >= now())
ORDER BY p
LIMIT $3
ON CONFLICT ON CONSTRAINT partition_leases_pk DO UPDATE SET owner = excluded.owner, expires_at = excluded.expires_at
    WHERE l.expires_at < now()
RETURNING l.partition;

-- name: release
-- Give everything back at a clean end. $1 owner.
WITH worker AS (DELETE FROM workers WHERE owner = $1)
DELETE FROM partition_leases WHERE owner = $1;
