-- name: claim
-- The next events of these partitions, a fair share for each project that waits, each user's in order.
-- Reads only; `take` decides who has them. $1 partitions, $2 events wanted.
WITH RECURSIVE waiting (partition, project_id) AS (
    SELECT p.partition, (SELECT o.project_id FROM outbox o WHERE o.partition = p.partition ORDER BY o.project_id LIMIT 1)
    FROM unnest($1::smallint[]) AS p (partition)
    UNION ALL
    SELECT w.partition, (SELECT o.project_id FROM outbox o WHERE o.partition = w.partition AND o.project_id > w.project_id
                         ORDER BY o.project_id LIMIT 1)
    FROM waiting w
    WHERE w.project_id IS NOT NULL
),
pairs AS (
    SELECT partition, project_id FROM waiting WHERE project_id IS NOT NULL ORDER BY random() LIMIT $2::integer
),
shares AS (
    SELECT partition, project_id,
           greatest(1, $2::integer / (SELECT count(DISTINCT project_id) FROM pairs)
                       / count(*) OVER (PARTITION BY project_id)) AS share
    FROM pairs
)
SELECT o.seq, s.partition, s.project_id, o.user_hash, e.id, e.type, e.external_user, e.payload, e.occurred_at, e.received_at,
       e.source, e.schema_version, e.context, e.sent_with, e.traceparent
FROM shares s
CROSS JOIN LATERAL (
    SELECT seq, event_id, user_hash FROM outbox
    WHERE partition = s.partition AND project_id = s.project_id ORDER BY seq LIMIT s.share
) o
JOIN events e ON e.project_id = s.project_id AND e.id = o.event_id
ORDER BY o.seq;

-- name: take
-- Remove these rows and return the seq of those that were still there: the others were taken by a command meanwhile.
DELETE FROM outbox o
USING unnest($1::smallint[], $2::integer[], $3::bigint[]) AS t (partition, project_id, seq)
WHERE o.partition = t.partition AND o.project_id = t.project_id AND o.seq = t.seq
RETURNING o.seq;

-- name: drain
-- Remove and return what waits for these users, oldest first, so that a command of theirs comes after it.
-- The users' rows must be locked. $1 project ids, $2 customers' user ids, $3 user hashes, $4 limit.
WITH mine AS (
    SELECT o.partition, o.project_id, o.seq
    FROM unnest($1::integer[], $2::text[], $3::bigint[]) AS u (project_id, external_id, user_hash)
    JOIN outbox o ON o.user_hash = u.user_hash AND o.project_id = u.project_id
    JOIN events e ON e.project_id = o.project_id AND e.id = o.event_id AND e.external_user = u.external_id
    ORDER BY o.seq
    LIMIT $4
), taken AS (
    DELETE FROM outbox o USING mine
    WHERE o.partition = mine.partition AND o.project_id = mine.project_id AND o.seq = mine.seq
    RETURNING o.seq, o.partition, o.project_id, o.user_hash, o.event_id
)
SELECT t.seq, t.partition, t.project_id, t.user_hash, e.id, e.type, e.external_user, e.payload, e.occurred_at, e.received_at,
       e.source, e.schema_version, e.context, e.sent_with, e.traceparent
FROM taken t
JOIN events e ON e.project_id = t.project_id AND e.id = t.event_id
ORDER BY t.seq;

-- name: backlog
-- How many events wait (up to $1, so that a long queue costs little), and the receipt of the oldest in sight.
SELECT count(*) AS waiting, min(event_id::text) AS oldest_event FROM (SELECT event_id FROM outbox LIMIT $1) AS seen;

-- name: waits_from_before
-- Whether an event of the project waits, or is being applied, or will be tried again, that was received earlier. $1 project,
-- $2 partitions, $3 an event id that none made from then on lies below.
SELECT EXISTS (SELECT FROM retries r WHERE r.project_id = $1 AND r.event_id < $3) OR EXISTS (
    SELECT FROM unnest($2::smallint[]) AS p (partition)
    CROSS JOIN LATERAL (
        SELECT FROM outbox o WHERE o.partition = p.partition AND o.project_id = $1 AND o.event_id < $3 LIMIT 1) AS o);

-- name: waits_for
-- Whether an event of a user is in the queue. $1 project, $2 user hash.
SELECT EXISTS (SELECT FROM outbox o WHERE o.user_hash = $2 AND o.project_id = $1);

-- name: waiting_of
-- How many events of a project wait. $1 project, $2 partitions, $3 as many as are counted at most.
SELECT count(*) FROM (
    SELECT FROM unnest($2::smallint[]) AS p (partition)
    CROSS JOIN LATERAL (
        SELECT FROM outbox o WHERE o.partition = p.partition AND o.project_id = $1 LIMIT $3::integer) AS o
    LIMIT $3::integer) AS seen;
