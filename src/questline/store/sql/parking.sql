-- Events that wait outside the queue: those of parked users, and dead letters that were put back.
-- Whoever changes rows of both tables locks the user's row of parked_users first: none of `retries` is then left alone.

-- name: set_aside
-- Take these events of parked users out of the queue, in the transaction that holds the users.
-- $1 partitions, $2 projects, $3 seqs.
WITH gone AS (
    DELETE FROM outbox o
    USING unnest($1::smallint[], $2::integer[], $3::bigint[]) AS t (partition, project_id, seq)
    WHERE o.partition = t.partition AND o.project_id = t.project_id AND o.seq = t.seq
    RETURNING o.project_id, o.event_id, o.user_hash, o.seq
)
INSERT INTO retries (project_id, event_id, user_hash, seq) SELECT project_id, event_id, user_hash, seq FROM gone;

-- name: park
-- Note a failed try, and let the event's user wait. The user's row is locked, and the event taken out of where it waited.
-- $1 project, $2 event, $3 user hash, $4 seq, $5 user id, $6 partition, $7 tries, $8 reason, $9 message, $10 due at,
-- $11 now, $12 number of the attempt, $13 microseconds.
WITH tried AS (
    INSERT INTO attempts (project_id, event_id, number, status, reason, message, duration_us, at)
    VALUES ($1, $2, $12, 'retried', $8, $9, $13, $11)
), again AS (
    INSERT INTO retries (project_id, event_id, user_hash, seq) VALUES ($1, $2, $3, $4)
), held AS (
    UPDATE users SET parked = true WHERE project_id = $1 AND id = $5
)
INSERT INTO parked_users AS p (project_id, user_hash, partition, event_id, tries, reason, message, since, due_at)
VALUES ($1, $3, $6, $2, $7, $8, $9, $11, $10)
ON CONFLICT ON CONSTRAINT parked_users_pk DO UPDATE SET
    event_id = excluded.event_id, tries = excluded.tries, reason = excluded.reason, message = excluded.message,
    due_at = excluded.due_at;

-- name: due
-- Events to be tried again, each user's in order; of a user whose last try failed, that event alone. Projects take turns.
-- $1 partitions, $2 now, $3 users at most, $4 users among whom projects take turns, $5 events of a user at most, $6 bytes of
-- payloads at most, of which one event may have more. As many of the compressed as are likely to fit are unpacked to be measured.
WITH found AS (
    SELECT r.seq, p.partition, r.project_id, r.user_hash, e.id, e.type, e.external_user, e.payload, e.occurred_at, e.received_at,
           e.source, e.schema_version, e.context, e.sent_with, e.traceparent,
           (1 + (SELECT count(*) FROM attempts a WHERE a.project_id = r.project_id AND a.event_id = r.event_id))::integer AS attempt,
           p.tries, pg_column_size(e.payload) + coalesce(pg_column_size(e.context), 0) AS stored,
           coalesce(pg_column_compression(e.payload), pg_column_compression(e.context)) IS NOT NULL AS is_packed
    FROM (
        SELECT project_id, user_hash, partition, tries, event_id
        FROM (
            SELECT project_id, user_hash, partition, tries, event_id, due_at FROM parked_users
            WHERE due_at <= $2 AND partition = ANY($1::smallint[]) ORDER BY due_at LIMIT $4
        ) AS waiting
        ORDER BY row_number() OVER (PARTITION BY project_id ORDER BY due_at) LIMIT $3
    ) p
    CROSS JOIN LATERAL (
        SELECT project_id, event_id, user_hash, seq FROM retries w
        WHERE w.project_id = p.project_id AND w.user_hash = p.user_hash AND (p.tries = 0 OR w.event_id = p.event_id)
        ORDER BY w.seq, w.event_id LIMIT $5::integer
    ) r
    JOIN events e ON e.project_id = r.project_id AND e.id = r.event_id
),
guessed AS (
    SELECT *, row_number() OVER turns AS nth, sum(CASE WHEN is_packed THEN 4 * stored ELSE stored END) OVER turns AS likely
    FROM found WINDOW turns AS (ORDER BY seq, id)
),
measured AS (
    SELECT *, sum(CASE WHEN is_packed THEN octet_length(payload::text) + coalesce(octet_length(context::text), 0)
                  ELSE stored END) OVER (ORDER BY nth) AS bytes
    FROM guessed WHERE nth = 1 OR likely <= $6::bigint
)
SELECT seq, partition, project_id, user_hash, id, type, external_user, payload, occurred_at, received_at,
       source, schema_version, context, sent_with, traceparent, attempt, tries
FROM measured
WHERE nth = 1 OR bytes <= $6::bigint
ORDER BY nth;

-- name: hold
-- Lock the rows of these users, in one order for everybody. $1 projects, $2 user hashes.
SELECT p.user_hash
FROM unnest($1::integer[], $2::bigint[]) AS i (project_id, user_hash)
JOIN parked_users p ON p.project_id = i.project_id AND p.user_hash = i.user_hash
ORDER BY p.project_id, p.user_hash
FOR UPDATE OF p;

-- name: take
-- Remove these events and return those that were still there. $1 projects, $2 events.
DELETE FROM retries r
USING unnest($1::integer[], $2::uuid[]) AS i (project_id, event_id)
WHERE r.project_id = i.project_id AND r.event_id = i.event_id
RETURNING r.event_id;

-- name: go_on
-- The events they waited for are gone: what else waits of these users is due now. $1 projects, $2 user hashes, $3 now.
UPDATE parked_users p SET event_id = NULL, tries = 0, due_at = $3
FROM unnest($1::integer[], $2::bigint[]) AS i (project_id, user_hash)
WHERE p.project_id = i.project_id AND p.user_hash = i.user_hash;

-- name: release
-- Let those of these held users go of whom nothing waits any more, and return them. $1 projects, $2 user hashes.
DELETE FROM parked_users p
USING unnest($1::integer[], $2::bigint[]) AS i (project_id, user_hash)
WHERE p.project_id = i.project_id AND p.user_hash = i.user_hash
    AND NOT EXISTS (SELECT FROM retries r WHERE r.project_id = p.project_id AND r.user_hash = p.user_hash)
RETURNING p.project_id, p.user_hash;

-- name: unpark
-- Their events and commands are applied as they come again. $1 projects, $2 users by our id; their rows are locked.
UPDATE users u SET parked = false
FROM unnest($1::integer[], $2::bigint[]) AS i (project_id, id)
WHERE u.project_id = i.project_id AND u.id = i.id;

-- name: due_at
-- When the next try for these users is. $1 projects, $2 user hashes.
SELECT p.project_id, p.user_hash, p.due_at
FROM unnest($1::integer[], $2::bigint[]) AS i (project_id, user_hash)
JOIN parked_users p ON p.project_id = i.project_id AND p.user_hash = i.user_hash;
