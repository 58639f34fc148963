-- The queue as relays see it, who hand its rows to a broker. A row stays until its event is applied, whatever a broker does.
-- Rows that somebody else has locked are passed over everywhere, so a relay waits for nobody: what is applied at this moment
-- needs no note, and what is not will be due again.

-- name: lease
-- Put rows in flight and return their events, oldest first: those never handed over, those that failed and are due, and those
-- of a relay that is gone. Only the first rows of each line (a partition, a project) are looked at: what a broker holds is
-- bounded so, and lines share that bound.
-- $1 partitions, $2 owner, $3 events wanted, $4 rows looked at in all, $5 in a line at least, $6 at most, $7 seconds that a
-- row is in flight, $8 bytes of payloads at most, of which one event may have more. Where the compressed could be more than
-- fits, as many as are likely to are unpacked to be measured: `part` is worked out then only.
WITH RECURSIVE waiting (partition, project_id) AS (
    SELECT p.partition, (SELECT o.project_id FROM outbox o WHERE o.partition = p.partition ORDER BY o.project_id LIMIT 1)
    FROM unnest($1::smallint[]) AS p (partition)
    UNION ALL
    SELECT w.partition, (SELECT o.project_id FROM outbox o WHERE o.partition = w.partition AND o.project_id > w.project_id
                         ORDER BY o.project_id LIMIT 1)
    FROM waiting w
    WHERE w.project_id IS NOT NULL
),
lines AS (
    SELECT partition, project_id, least($6::integer, greatest($5::integer, $4::integer / count(*) OVER ()))::integer AS share
    FROM waiting WHERE project_id IS NOT NULL
),
due AS (
    SELECT h.partition, h.project_id, h.seq
    FROM lines l
    CROSS JOIN LATERAL (
        SELECT partition, project_id, seq, relay_state, relay_at FROM outbox
        WHERE partition = l.partition AND project_id = l.project_id ORDER BY seq LIMIT l.share
    ) h
    WHERE h.relay_state IS NULL OR (h.relay_state <> 'published'
        AND h.relay_at < now() - make_interval(secs => CASE h.relay_state WHEN 'in_flight' THEN $7::float8 ELSE 0 END))
    ORDER BY h.seq LIMIT $3::integer
),
held AS (
    SELECT o.partition, o.project_id, o.seq, o.user_hash, o.event_id
    FROM due d
    JOIN outbox o ON o.partition = d.partition AND o.project_id = d.project_id AND o.seq = d.seq
    WHERE o.relay_state IS NULL OR (o.relay_state <> 'published'
        AND o.relay_at < now() - make_interval(secs => CASE o.relay_state WHEN 'in_flight' THEN $7::float8 ELSE 0 END))
    ORDER BY o.seq
    FOR UPDATE OF o SKIP LOCKED
),
read AS MATERIALIZED (
    SELECT h.partition, h.seq, h.project_id, h.user_hash, e.id, e.type, e.external_user, e.payload, e.occurred_at, e.received_at,
           e.source, e.schema_version, e.context, e.sent_with, e.traceparent,
           pg_column_size(e.payload) + coalesce(pg_column_size(e.context), 0) AS stored,
           coalesce(pg_column_compression(e.payload), pg_column_compression(e.context)) IS NOT NULL AS is_packed
    FROM held h
    JOIN events e ON e.project_id = h.project_id AND e.id = h.event_id
),
guessed AS (
    SELECT seq, payload, context, stored, is_packed, row_number() OVER (ORDER BY seq) AS nth,
           sum(CASE WHEN is_packed THEN 4 * stored ELSE stored END) OVER (ORDER BY seq) AS likely
    FROM read
),
measured AS (
    SELECT seq, nth, sum(CASE WHEN is_packed THEN octet_length(payload::text) + coalesce(octet_length(context::text), 0)
                         ELSE stored END) OVER (ORDER BY nth) AS bytes
    FROM guessed WHERE nth = 1 OR likely <= $8::bigint
),
whole AS MATERIALIZED (
    SELECT sum(CASE WHEN is_packed THEN 256::bigint * stored ELSE stored END) <= $8::bigint AS fits FROM read
),
part AS MATERIALIZED (
    SELECT seq FROM measured WHERE nth = 1 OR bytes <= $8::bigint
),
leased AS (
    UPDATE outbox o SET relay_state = 'in_flight', relay_owner = $2, relay_at = now()
    FROM held h WHERE o.partition = h.partition AND o.project_id = h.project_id AND o.seq = h.seq
        AND ((SELECT fits FROM whole) OR h.seq IN (SELECT seq FROM part))
)
SELECT seq, partition, project_id, user_hash, id, type, external_user, payload, occurred_at, received_at,
       source, schema_version, context, sent_with, traceparent
FROM read
WHERE (SELECT fits FROM whole) OR seq IN (SELECT seq FROM part)
ORDER BY seq;

-- name: settle
-- Note what became of rows that this relay has in flight, unless they are being applied or another relay has them by now.
-- $1 partitions, $2 projects, $3 seqs, $4 owner, $5 published or failed, $6 seconds until they may be tried again.
WITH held AS (
    SELECT o.partition, o.project_id, o.seq
    FROM unnest($1::smallint[], $2::integer[], $3::bigint[]) AS t (partition, project_id, seq)
    JOIN outbox o ON o.partition = t.partition AND o.project_id = t.project_id AND o.seq = t.seq
    WHERE o.relay_owner = $4 AND o.relay_state = 'in_flight'
    FOR UPDATE OF o SKIP LOCKED
)
UPDATE outbox o SET relay_state = $5, relay_at = now() + make_interval(secs => $6::float8)
FROM held h WHERE o.partition = h.partition AND o.project_id = h.project_id AND o.seq = h.seq;

-- name: forget
-- The broker has lost what it held of these partitions: let it be handed over again. $1 partitions.
WITH held AS (
    SELECT o.partition, o.project_id, o.seq FROM outbox o
    WHERE o.partition = ANY($1::smallint[]) AND o.relay_state = 'published'
    FOR UPDATE OF o SKIP LOCKED
)
UPDATE outbox o SET relay_state = NULL, relay_owner = NULL, relay_at = NULL
FROM held h WHERE o.partition = h.partition AND o.project_id = h.project_id AND o.seq = h.seq;

-- name: unapplied
-- Partitions with rows that were handed over long ago and are still not applied. As many rows are looked at as above.
-- $1 partitions, $2 rows looked at in all, $3 in a line at least, $4 at most, $5 seconds for a row to be applied.
WITH RECURSIVE waiting (partition, project_id) AS (
    SELECT p.partition, (SELECT o.project_id FROM outbox o WHERE o.partition = p.partition ORDER BY o.project_id LIMIT 1)
    FROM unnest($1::smallint[]) AS p (partition)
    UNION ALL
    SELECT w.partition, (SELECT o.project_id FROM outbox o WHERE o.partition = w.partition AND o.project_id > w.project_id
                         ORDER BY o.project_id LIMIT 1)
    FROM waiting w
    WHERE w.project_id IS NOT NULL
),
lines AS (
    SELECT partition, project_id, least($4::integer, greatest($3::integer, $2::integer / count(*) OVER ()))::integer AS share
    FROM waiting WHERE project_id IS NOT NULL
)
SELECT l.partition
FROM lines l
CROSS JOIN LATERAL (
    SELECT relay_state, relay_at FROM outbox
    WHERE partition = l.partition AND project_id = l.project_id ORDER BY seq LIMIT l.share
) h
WHERE h.relay_state = 'published' AND h.relay_at < now() - make_interval(secs => $5::float8)
GROUP BY 1 ORDER BY 1;

-- name: again
-- Let rows be handed over again that were long ago and are not applied. $1 partitions, $2 rows looked at in all, $3 in a line
-- at least, $4 at most, $5 seconds for a row of each partition to be applied.
WITH RECURSIVE waiting (partition, project_id) AS (
    SELECT p.partition, (SELECT o.project_id FROM outbox o WHERE o.partition = p.partition ORDER BY o.project_id LIMIT 1)
    FROM unnest($1::smallint[]) AS p (partition)
    UNION ALL
    SELECT w.partition, (SELECT o.project_id FROM outbox o WHERE o.partition = w.partition AND o.project_id > w.project_id
                         ORDER BY o.project_id LIMIT 1)
    FROM waiting w
    WHERE w.project_id IS NOT NULL
),
lines AS (
    SELECT partition, project_id, least($4::integer, greatest($3::integer, $2::integer / count(*) OVER ()))::integer AS share
    FROM waiting WHERE project_id IS NOT NULL
),
held AS (
    SELECT o.partition, o.project_id, o.seq
    FROM lines l
    JOIN unnest($1::smallint[], $5::float8[]) AS g (partition, seconds) ON g.partition = l.partition
    CROSS JOIN LATERAL (
        SELECT seq FROM outbox WHERE partition = l.partition AND project_id = l.project_id ORDER BY seq LIMIT l.share
    ) h
    JOIN outbox o ON o.partition = l.partition AND o.project_id = l.project_id AND o.seq = h.seq
    WHERE o.relay_state = 'published' AND o.relay_at < now() - make_interval(secs => g.seconds)
    FOR UPDATE OF o SKIP LOCKED
)
UPDATE outbox o SET relay_state = NULL, relay_owner = NULL, relay_at = NULL
FROM held h WHERE o.partition = h.partition AND o.project_id = h.project_id AND o.seq = h.seq
RETURNING o.partition;

-- name: carried
-- What still waits of events that a broker brought, and what waits before them of the same users: places in the queue and
-- event ids. One range of each line is read, up to the last of what was brought. $1 partitions, $2 projects, $3 seqs,
-- $4 user hashes.
WITH brought AS MATERIALIZED (
    SELECT * FROM unnest($1::smallint[], $2::integer[], $3::bigint[], $4::bigint[]) AS b (partition, project_id, seq, user_hash)
),
line AS (
    SELECT partition, project_id, max(seq) AS last, array_agg(DISTINCT user_hash) AS users FROM brought GROUP BY 1, 2
)
SELECT o.seq, o.partition, o.project_id, o.event_id
FROM line l
CROSS JOIN LATERAL (
    SELECT seq, partition, project_id, event_id, user_hash FROM outbox
    WHERE partition = l.partition AND project_id = l.project_id AND seq <= l.last
) o
WHERE o.user_hash = ANY(l.users)
ORDER BY o.seq;

-- name: waiting
-- Events that wait, whole. $1 partitions, $2 projects, $3 seqs.
SELECT o.seq, o.partition, o.project_id, o.user_hash, e.id, e.type, e.external_user, e.payload, e.occurred_at, e.received_at,
       e.source, e.schema_version, e.context, e.sent_with, e.traceparent
FROM unnest($1::smallint[], $2::integer[], $3::bigint[]) AS w (partition, project_id, seq)
JOIN outbox o ON o.partition = w.partition AND o.project_id = w.project_id AND o.seq = w.seq
JOIN events e ON e.project_id = o.project_id AND e.id = o.event_id;

-- name: counts
-- Rows by their state, counted up to $1 rows in all; a state of NULL is pending.
SELECT relay_state, count(*) FROM (SELECT relay_state FROM outbox LIMIT $1) AS seen GROUP BY relay_state;

-- name: oldest
-- The event that has waited longest to be handed over: the first of each line that was not, of $2 lines at most.
-- $1 partitions.
WITH RECURSIVE line (partition, project_id) AS (
    SELECT p.partition, (SELECT o.project_id FROM outbox o WHERE o.partition = p.partition ORDER BY o.project_id LIMIT 1)
    FROM unnest($1::smallint[]) AS p (partition)
    UNION ALL
    SELECT l.partition, (SELECT o.project_id FROM outbox o WHERE o.partition = l.partition AND o.project_id > l.project_id
                         ORDER BY o.project_id LIMIT 1)
    FROM line l
    WHERE l.project_id IS NOT NULL
), seen AS (
    SELECT partition, project_id FROM line WHERE project_id IS NOT NULL LIMIT $2
)
SELECT f.event_id
FROM seen s
CROSS JOIN LATERAL (
    SELECT event_id FROM outbox
    WHERE partition = s.partition AND project_id = s.project_id AND relay_state IS DISTINCT FROM 'published'
    ORDER BY seq LIMIT 1
) f
ORDER BY f.event_id LIMIT 1;

-- name: to_mirror
-- Dead letters that no broker was told of, oldest first, with their events. $1 as many at most.
SELECT l.project_id, l.event_id, l.failed_at, p.app_id, e.type, e.external_user, e.payload::text AS payload, e.occurred_at, e.received_at,
       l.reason, l.message, l.attempts
FROM dead_letters l
JOIN projects p ON p.id = l.project_id
JOIN events e ON e.project_id = l.project_id AND e.id = l.event_id
WHERE l.mirrored_at IS NULL AND l.discarded_at IS NULL
ORDER BY l.failed_at LIMIT $1;

-- name: mirrored
-- Note that the broker was told of dead letters, unless they failed once more meanwhile. $1 projects, $2 events, $3 when
-- they failed, $4 now.
UPDATE dead_letters l SET mirrored_at = $4
FROM unnest($1::integer[], $2::uuid[], $3::timestamptz[]) AS m (project_id, event_id, failed_at)
WHERE l.project_id = m.project_id AND l.event_id = m.event_id AND l.failed_at = m.failed_at;
