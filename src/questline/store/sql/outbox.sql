-- name: claim
-- The next events of these partitions, a fair share for each project that waits, each user's in order.
-- Reads only; `take` decides who has them. $1 partitions, $2 events wanted, $3 bytes of payloads at most, of which one event
-- may have more. Small payloads are not compressed, and their size is at hand. Where the compressed could be more than fits,
-- projects take turns by what they bring, and as many as are likely to fit are unpacked to be measured: `fair` and `measured`
-- are worked out for no other batch.
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
),
picked AS MATERIALIZED (
    SELECT o.seq, s.partition, s.project_id, o.user_hash, e.id, e.type, e.external_user, e.payload, e.occurred_at, e.received_at,
           e.source, e.schema_version, e.context, e.sent_with, e.traceparent,
           pg_column_size(e.payload) + coalesce(pg_column_size(e.context), 0) AS stored,
           coalesce(pg_column_compression(e.payload), pg_column_compression(e.context)) IS NOT NULL AS is_packed
    FROM shares s
    CROSS JOIN LATERAL (
        SELECT seq, event_id, user_hash FROM outbox
        WHERE partition = s.partition AND project_id = s.project_id ORDER BY seq LIMIT s.share
    ) o
    JOIN events e ON e.project_id = s.project_id AND e.id = o.event_id
),
fair AS (
    SELECT seq, payload, context, stored, is_packed, row_number() OVER turns AS nth, sum(likely) OVER turns AS likely
    FROM (
        SELECT *, sum(likely) OVER (PARTITION BY project_id ORDER BY turn, seq) - likely AS before
        FROM (
            SELECT *, row_number() OVER (PARTITION BY partition, project_id ORDER BY seq) AS turn,
                   CASE WHEN is_packed THEN 4 * stored ELSE stored END AS likely
            FROM picked
        ) AS line
    ) AS project
    WINDOW turns AS (ORDER BY before, seq)
),
measured AS (
    SELECT seq, nth, sum(CASE WHEN is_packed THEN octet_length(payload::text) + coalesce(octet_length(context::text), 0)
                         ELSE stored END) OVER (ORDER BY nth) AS bytes
    FROM fair WHERE nth = 1 OR likely <= $3::bigint
)
SELECT seq, partition, project_id, user_hash, id, type, external_user, payload, occurred_at, received_at,
       source, schema_version, context, sent_with, traceparent
FROM picked
WHERE (SELECT sum(CASE WHEN is_packed THEN 256::bigint * stored ELSE stored END) <= $3::bigint FROM picked)
    OR seq IN (SELECT seq FROM measured WHERE nth = 1 OR bytes <= $3::bigint)
ORDER BY seq;

-- name: take
-- Remove these rows and return the seq of those that were still there: the others were taken by a command meanwhile.
DELETE FROM outbox o
USING unnest($1::smallint[], $2::integer[], $3::bigint[]) AS t (partition, project_id, seq)
WHERE o.partition = t.partition AND o.project_id = t.project_id AND o.seq = t.seq
RETURNING o.seq;

-- name: drain
-- Remove and return what waits for these users, oldest first, so that a command of theirs comes after it; of users with more
-- than fits, the first part, users taking turns. `behind` are the places in $1 of those of whom more waits.
-- The users' rows must be locked. $1 project ids, $2 customers' user ids, $3 user hashes, $4 events at most, $5 bytes of
-- payloads at most, of which one event may have more. What is compressed is unpacked to be measured.
WITH mine AS (
    SELECT o.*, u.place, row_number() OVER (PARTITION BY u.place ORDER BY o.seq) AS turn
    FROM unnest($1::integer[], $2::text[], $3::bigint[]) WITH ORDINALITY AS u (project_id, external_id, user_hash, place)
    CROSS JOIN LATERAL (
        SELECT q.partition, q.project_id, q.seq,
               CASE WHEN pg_column_compression(e.payload) IS NULL THEN pg_column_size(e.payload)
                    ELSE octet_length(e.payload::text) END
               + CASE WHEN e.context IS NULL THEN 0 WHEN pg_column_compression(e.context) IS NULL THEN pg_column_size(e.context)
                      ELSE octet_length(e.context::text) END AS bytes
        FROM outbox q
        JOIN events e ON e.project_id = q.project_id AND e.id = q.event_id AND e.external_user = u.external_id
        WHERE q.user_hash = u.user_hash AND q.project_id = u.project_id
        ORDER BY q.seq LIMIT $4::integer + 1
    ) o
), line AS (
    SELECT partition, project_id, seq, place, row_number() OVER turns AS nth, sum(bytes) OVER turns AS bytes
    FROM mine WINDOW turns AS (ORDER BY turn, place)
), taken AS (
    DELETE FROM outbox o USING line l
    WHERE o.partition = l.partition AND o.project_id = l.project_id AND o.seq = l.seq
        AND (l.nth = 1 OR (l.nth <= $4 AND l.bytes <= $5))
    RETURNING o.seq, o.partition, o.project_id, o.user_hash, o.event_id
)
SELECT t.seq, t.partition, t.project_id, t.user_hash, e.id, e.type, e.external_user, e.payload, e.occurred_at, e.received_at,
       e.source, e.schema_version, e.context, e.sent_with, e.traceparent,
       (SELECT array_agg(DISTINCT place::integer) FROM line WHERE NOT (nth = 1 OR (nth <= $4 AND bytes <= $5))) AS behind
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
