-- Dead letters: events that gave up. Retried, one leaves in the statement that puts its event back; discarded, it stays.

-- name: listed
-- Newest first. $1 projects, $2 reason code or NULL, $3 type or NULL, $4 customer's user id or NULL, $5 received from here on
-- and $6 before here, as event ids, $7 whether discarded ones are wanted and not the others, $8 before this event, $9 limit.
SELECT p.app_id AS project, l.event_id, e.external_id, e.type, e.external_user, l.reason, l.message, l.attempts, e.received_at,
       l.failed_at, l.discarded_at, l.discarded_by, l.discarded_for
FROM dead_letters l
JOIN events e ON e.project_id = l.project_id AND e.id = l.event_id
JOIN projects p ON p.id = l.project_id
WHERE l.project_id = ANY($1::integer[]) AND l.event_id >= $5 AND l.event_id < $6 AND l.event_id < $8
    AND ($2::text IS NULL OR l.reason = $2) AND ($3::text IS NULL OR e.type = $3) AND ($4::text IS NULL OR e.external_user = $4)
    AND (l.discarded_at IS NOT NULL) = $7
ORDER BY l.event_id DESC
LIMIT $9;

-- name: reasons
-- How many gave up, by project and reason, and how many of them are discarded. $1 projects.
SELECT p.app_id AS project, l.reason, count(*) FILTER (WHERE l.discarded_at IS NULL) AS events,
       count(*) FILTER (WHERE l.discarded_at IS NOT NULL) AS discarded, min(l.failed_at) AS oldest, max(l.failed_at) AS newest
FROM dead_letters l
JOIN projects p ON p.id = l.project_id
WHERE l.project_id = ANY($1::integer[])
GROUP BY p.app_id, l.reason
ORDER BY p.app_id, l.reason;

-- name: chosen
-- Hold the oldest that fit, leaving out those somebody else holds. $1 projects, $2 to $6 as above, $7 events or NULL for all,
-- $8 failed before, $9 limit.
SELECT l.project_id, l.event_id, p.organization_id
FROM dead_letters l
JOIN events e ON e.project_id = l.project_id AND e.id = l.event_id
JOIN projects p ON p.id = l.project_id
WHERE l.project_id = ANY($1::integer[]) AND l.event_id >= $5 AND l.event_id < $6 AND l.failed_at < $8
    AND ($2::text IS NULL OR l.reason = $2) AND ($3::text IS NULL OR e.type = $3) AND ($4::text IS NULL OR e.external_user = $4)
    AND ($7::uuid[] IS NULL OR l.event_id = ANY($7)) AND l.discarded_at IS NULL
ORDER BY l.event_id
LIMIT $9
FOR UPDATE OF l SKIP LOCKED;

-- name: left
-- How many fit. $1 to $8 as for those chosen.
SELECT count(*)
FROM dead_letters l
JOIN events e ON e.project_id = l.project_id AND e.id = l.event_id
WHERE l.project_id = ANY($1::integer[]) AND l.event_id >= $5 AND l.event_id < $6 AND l.failed_at < $8
    AND ($2::text IS NULL OR l.reason = $2) AND ($3::text IS NULL OR e.type = $3) AND ($4::text IS NULL OR e.external_user = $4)
    AND ($7::uuid[] IS NULL OR l.event_id = ANY($7)) AND l.discarded_at IS NULL;

-- name: retry
-- Put held dead letters back, to be tried now; those of a parked user behind the event that waits. $1 projects, $2 events,
-- $3 now. The rows of parked_users come first, and are locked: see parking.sql.
WITH gone AS (
    DELETE FROM dead_letters l
    USING unnest($1::integer[], $2::uuid[]) AS i (project_id, event_id)
    WHERE l.project_id = i.project_id AND l.event_id = i.event_id AND l.discarded_at IS NULL
    RETURNING l.project_id, l.event_id, l.user_hash
), held AS (
    INSERT INTO parked_users AS p (project_id, user_hash, partition, tries, since, due_at)
    SELECT DISTINCT project_id, user_hash, (user_hash & 63)::smallint, 0, $3::timestamptz, $3::timestamptz FROM gone
    ORDER BY 1, 2
    ON CONFLICT ON CONSTRAINT parked_users_pk DO UPDATE SET due_at = p.due_at
)
INSERT INTO retries (project_id, event_id, user_hash, seq) SELECT project_id, event_id, user_hash, 0 FROM gone
RETURNING event_id;

-- name: discard
-- Give held dead letters up for good. $1 projects, $2 events, $3 now, $4 by whom, $5 why.
UPDATE dead_letters l SET discarded_at = $3, discarded_by = $4, discarded_for = $5
FROM unnest($1::integer[], $2::uuid[]) AS i (project_id, event_id)
WHERE l.project_id = i.project_id AND l.event_id = i.event_id AND l.discarded_at IS NULL;
