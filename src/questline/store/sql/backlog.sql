-- What waits, as far as it is counted: read by workers now and then, for their metrics, and by `questline doctor`.

-- name: counts
-- Waiting events, dead letters to be seen to, and parked users, each counted up to $1, so that a long queue costs little.
SELECT (SELECT count(*) FROM (SELECT FROM outbox LIMIT $1) AS seen) AS waiting,
       (SELECT count(*) FROM (SELECT FROM dead_letters WHERE discarded_at IS NULL LIMIT $1) AS seen) AS dead_letters,
       (SELECT count(*) FROM (SELECT FROM parked_users LIMIT $1) AS seen) AS parked_users;

-- name: oldest
-- The event that has waited longest: the first of each line (a partition, a project) is found by skipping through the
-- primary key, and at most $2 lines are looked at. $1 partitions.
WITH RECURSIVE line (partition, project_id, event_id) AS (
    SELECT p.partition, o.project_id, o.event_id
    FROM unnest($1::smallint[]) AS p (partition)
    CROSS JOIN LATERAL (SELECT project_id, event_id FROM outbox WHERE partition = p.partition
                        ORDER BY project_id, seq LIMIT 1) AS o
    UNION ALL
    SELECT l.partition, o.project_id, o.event_id
    FROM line l
    CROSS JOIN LATERAL (SELECT project_id, event_id FROM outbox WHERE partition = l.partition AND project_id > l.project_id
                        ORDER BY project_id, seq LIMIT 1) AS o
), seen AS (
    SELECT event_id FROM line LIMIT $2
)
SELECT event_id FROM seen ORDER BY event_id LIMIT 1;
