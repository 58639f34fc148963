-- Messages to receivers outside, as they are written, taken to be sent and settled. Times are the database's: those who send
-- are several, and none of their clocks counts.

-- name: add
-- Messages to be sent at once. Arrays, a column each: $1 projects, $2 ids, $3 users, $4 types, $5 data, $6 when it happened,
-- $7 traces.
INSERT INTO deliveries (project_id, id, user_id, type, data, at, traceparent)
SELECT project_id, id, user_id, type, data::json, at, traceparent
FROM unnest($1::integer[], $2::text[], $3::bigint[], $4::text[], $5::text[], $6::timestamptz[], $7::text[])
     AS i (project_id, id, user_id, type, data, at, traceparent);

-- name: claim
-- Take messages that are due, and those of a process that is gone; each comes with where it goes and to whom it is about.
-- Projects take turns, and each is bounded; those that did not answer last time come after the others, so that however many
-- hang, nobody waits for all that they have, but for a share that is kept for them, so that they are not forgotten. What
-- somebody else is taking is passed over. A message whose fulfilment is settled is not wanted any more. $1 owner of this try,
-- $2 as many at most, $3 of one project, $4 projects of which more is known, $5 how many of theirs at most, $6 whether they
-- come last, $7 seconds of the lease, $8 how many of those that come last are taken first.
WITH RECURSIVE waiting (project_id) AS (
    (SELECT project_id FROM deliveries WHERE status = 'PENDING' ORDER BY project_id LIMIT 1)
    UNION ALL
    SELECT (SELECT d.project_id FROM deliveries d WHERE d.status = 'PENDING' AND d.project_id > w.project_id
            ORDER BY d.project_id LIMIT 1)
    FROM waiting w
    WHERE w.project_id IS NOT NULL
),
due AS (
    SELECT first.project_id, first.id, first.due_at, coalesce(b.is_last, false) AS is_last,
           row_number() OVER (PARTITION BY first.project_id ORDER BY first.due_at, first.id) AS turn
    FROM waiting w
    LEFT JOIN unnest($4::integer[], $5::integer[], $6::boolean[]) AS b (project_id, room, is_last)
        ON b.project_id = w.project_id
    CROSS JOIN LATERAL (
        SELECT project_id, id, due_at FROM deliveries
        WHERE project_id = w.project_id AND status = 'PENDING' AND due_at <= now()
        ORDER BY due_at, id LIMIT coalesce(b.room, $3::integer)
    ) first
),
chosen AS (
    SELECT project_id, id FROM due
    ORDER BY CASE WHEN NOT is_last THEN 1
                  WHEN row_number() OVER (PARTITION BY is_last ORDER BY turn, due_at) <= $8::integer THEN 0
                  ELSE 2 END, turn, due_at
    LIMIT $2::integer
),
held AS (
    SELECT d.project_id, d.id
    FROM chosen c JOIN deliveries d ON d.project_id = c.project_id AND d.id = c.id
    WHERE d.status = 'PENDING' AND d.due_at <= now()
    FOR UPDATE OF d SKIP LOCKED
),
claimed AS (
    UPDATE deliveries d SET owner = $1, tries = d.tries + 1, due_at = now() + make_interval(secs => $7::float8)
    FROM held h WHERE d.project_id = h.project_id AND d.id = h.id
    RETURNING d.project_id, d.id, d.user_id, d.type, d.data, d.at, d.traceparent, d.tries
)
SELECT c.project_id, p.app_id, c.id, c.type, u.external_id, c.data, c.at, c.traceparent, c.tries, p.webhook_url,
       p.webhook_secret, f.status IS NULL OR f.status = 'PENDING' AS wanted
FROM claimed c
JOIN projects p ON p.id = c.project_id
JOIN users u ON u.project_id = c.project_id AND u.id = c.user_id
LEFT JOIN fulfilments f ON f.project_id = c.project_id AND f.fulfilment_id = c.id;

-- name: settle
-- End a message, unless somebody else has taken it meanwhile. $1 project, $2 id, $3 owner, $4 status, $5 the answer, or NULL
-- where nobody was asked.
UPDATE deliveries SET status = $4, answer = coalesce($5, answer), owner = NULL, settled_at = now()
WHERE project_id = $1 AND id = $2 AND owner = $3 AND status = 'PENDING'
RETURNING id;

-- name: put_off
-- Let a message be sent again later, likewise. $1 project, $2 id, $3 owner, $4 seconds, $5 the answer.
UPDATE deliveries SET due_at = now() + make_interval(secs => $4::float8), answer = $5, owner = NULL
WHERE project_id = $1 AND id = $2 AND owner = $3 AND status = 'PENDING'
RETURNING id;

-- name: send_again
-- Let a message be sent at once and with all its tries before it, whether it waits or was taken; unless somebody sends it, or
-- its fulfilment is settled. One that was answered in any other way has stored the event that settles, applied or not: what it
-- is answered next would have no effect. $1 project, $2 id, $3 the answer of a receiver that has taken it.
UPDATE deliveries d SET status = 'PENDING', tries = 0, due_at = now(), settled_at = NULL
FROM fulfilments f
WHERE d.project_id = $1 AND d.id = $2 AND d.owner IS NULL
    AND (d.status = 'PENDING' OR (d.status = 'DELIVERED' AND d.answer = $3))
    AND f.project_id = d.project_id AND f.fulfilment_id = d.id AND f.status = 'PENDING'
RETURNING d.id;

-- name: waiting
-- How many messages wait, and for how many seconds the first of them has been due; counted up to $1.
SELECT count(*) AS messages, coalesce(greatest(extract(epoch FROM now() - min(due_at)), 0), 0)::float8 AS overdue_seconds
FROM (SELECT due_at FROM deliveries WHERE status = 'PENDING' LIMIT $1) AS seen;
