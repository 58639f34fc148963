-- Old rows taken away. All as the owner of the tables: nobody else may drop anything. {table} is a partitioned table and
-- {partition} one of its partitions, or what was one; both are checked names of ours, see store/retention.py.

-- name: partitions
-- Partitions of months, and tables that were such and are detached. Rows are the planner's guess; -1: it has none.
-- $1 the partitioned tables.
SELECT t.name AS of_table, c.relname AS name, pg_total_relation_size(c.oid) AS bytes, c.reltuples::bigint AS rows,
       c.relispartition AS attached
FROM unnest($1::text[]) AS t (name)
JOIN pg_class c ON c.relname ~ ('^' || t.name || '_\d{4}_\d{2}$') AND c.relkind = 'r'
    AND c.relnamespace = 'public'::regnamespace
ORDER BY c.relname;

-- name: count
-- How many rows there are.
SELECT count(*) FROM {partition};

-- name: count_below
-- How many rows of the default partition are of events below an id. $1 id.
SELECT count(*) FROM {partition} WHERE {id} < $1;

-- name: count_keys
-- How many dedupe keys are of events below an id. $1 id.
SELECT count(*) FROM dedupe_keys WHERE event_id < $1;

-- name: count_visitors
-- How many events below an id wait for a visitor's name. $1 id.
SELECT count(*) FROM anonymous_events WHERE event_id < $1;

-- name: count_deliveries
-- How many settled deliveries are of events below an id. $1 id.
SELECT count(*) FROM deliveries WHERE status <> 'PENDING' AND id < $1::uuid::text;

-- name: sizes
-- Bytes of the tables that are gone over page by page.
SELECT pg_total_relation_size('dedupe_keys') AS keys, pg_total_relation_size('anonymous_events') AS visitors,
       pg_total_relation_size('deliveries') AS deliveries;

-- name: needed
-- What still needs events between two ids: how many wait in the queue, wait to be tried again, gave up and are not
-- discarded, are held for review, and how many replays under way go over them. $1 from, $2 below, $3 counted at most.
SELECT (SELECT count(*) FROM (SELECT FROM outbox WHERE event_id >= $1 AND event_id < $2 LIMIT $3::integer) AS seen) AS waiting,
       (SELECT count(*) FROM (
            SELECT FROM projects p CROSS JOIN LATERAL (
                SELECT FROM retries r WHERE r.project_id = p.id AND r.event_id >= $1 AND r.event_id < $2) AS of_project
            LIMIT $3::integer) AS seen) AS tried_again,
       (SELECT count(*) FROM (
            SELECT FROM projects p CROSS JOIN LATERAL (
                SELECT FROM dead_letters l
                WHERE l.project_id = p.id AND l.event_id >= $1 AND l.event_id < $2 AND l.discarded_at IS NULL) AS of_project
            LIMIT $3::integer) AS seen) AS dead_letters,
       (SELECT count(*) FROM (
            SELECT FROM projects p CROSS JOIN LATERAL (
                SELECT FROM reviews r
                WHERE r.project_id = p.id AND r.status = 'waiting' AND r.event_id >= $1 AND r.event_id < $2) AS of_project
            LIMIT $3::integer) AS seen) AS held,
       (SELECT count(*) FROM replays WHERE finished_at IS NULL AND first_event < $2 AND last_event >= $1) AS replays;

-- name: oldest_needed
-- The first event that anything still needs, as above. No row: none is needed.
SELECT event_id FROM (
    (SELECT event_id FROM outbox ORDER BY event_id LIMIT 1)
    UNION ALL
    (SELECT first.event_id FROM projects p CROSS JOIN LATERAL (
        SELECT event_id FROM retries r WHERE r.project_id = p.id ORDER BY event_id LIMIT 1) AS first)
    UNION ALL
    (SELECT first.event_id FROM projects p CROSS JOIN LATERAL (
        SELECT event_id FROM dead_letters l WHERE l.project_id = p.id AND l.discarded_at IS NULL
        ORDER BY event_id LIMIT 1) AS first)
    UNION ALL
    (SELECT first.event_id FROM projects p CROSS JOIN LATERAL (
        SELECT event_id FROM reviews r WHERE r.project_id = p.id AND r.status = 'waiting'
        ORDER BY event_id LIMIT 1) AS first)
    UNION ALL
    SELECT first_event FROM replays WHERE finished_at IS NULL
) AS needed ORDER BY event_id LIMIT 1;

-- name: be_brief
-- Wait for locks no longer than this, until the transaction ends: who comes meanwhile waits behind us. $1 such as 200ms.
SELECT set_config('lock_timeout', $1, true);

-- name: lock
-- Keep everybody off a partitioned table, its partitions left out.
LOCK TABLE ONLY {table} IN ACCESS EXCLUSIVE MODE;

-- name: lock_partition
-- Keep everybody off one partition, so that what needs it can be looked at for good.
LOCK TABLE ONLY {partition} IN ACCESS EXCLUSIVE MODE;

-- name: detach
-- Make a table of its own of a partition. Not CONCURRENTLY: PostgreSQL refuses that where there is a default partition.
ALTER TABLE {table} DETACH PARTITION {partition};

-- name: drop
-- Drop what was detached. Nobody waits for it: nobody reads it.
DROP TABLE {partition};

-- name: keys_below
-- The next rows of the default partition that are of events below an id. $1 project and $2 event to go on from, $3 below,
-- $4 limit.
SELECT project_id, {id} AS event_id FROM {partition}
WHERE (project_id, {id}) > ($1, $2) AND {id} < $3 ORDER BY project_id, {id} LIMIT $4;

-- name: delete
-- Take rows out of the default partition. $1 projects, $2 events.
DELETE FROM {partition} d USING unnest($1::integer[], $2::uuid[]) AS i (project_id, event_id)
WHERE d.project_id = i.project_id AND d.{id} = i.event_id;

-- name: allow_pruning
-- Let the next statements of this transaction delete from default partitions, and not wait for the disk: what a crash
-- brings back is pruned again.
SELECT set_config('questline.pruning', 'on', true), set_config('synchronous_commit', 'off', true);

-- name: pages_of_keys
-- How many pages the table of dedupe keys has.
SELECT pg_relation_size('dedupe_keys') / current_setting('block_size')::bigint;

-- name: pages_of_visitors
-- How many pages the table of visitors' events has.
SELECT pg_relation_size('anonymous_events') / current_setting('block_size')::bigint;

-- name: pages_of_deliveries
-- How many pages the table of deliveries has.
SELECT pg_relation_size('deliveries') / current_setting('block_size')::bigint;

-- name: forget_keys
-- Forget the dedupe keys on some pages that are of events below an id. Keys are found by their hash alone; to go over the
-- pages needs no index that every new event would have to pay for. $1 from this place, $2 up to here, $3 id.
DELETE FROM dedupe_keys WHERE ctid >= $1::tid AND ctid < $2::tid AND event_id < $3;

-- name: forget_visitors
-- Forget events below an id that still wait for a visitor's name, likewise.
DELETE FROM anonymous_events WHERE ctid >= $1::tid AND ctid < $2::tid AND event_id < $3;

-- name: forget_deliveries
-- Forget deliveries of events below an id that are settled, likewise.
DELETE FROM deliveries WHERE ctid >= $1::tid AND ctid < $2::tid AND status <> 'PENDING' AND id < $3::uuid::text;

-- name: note
-- Remember before when a class may be gone, or (NULL) that it was gone over to its end: what broke off in between is due
-- still. $1 class, $2 before or NULL, $3 now.
INSERT INTO pruned AS p (class, before, at)
VALUES ($1, $2, CASE WHEN $2::timestamptz IS NULL THEN $3::timestamptz ELSE to_timestamp(0) END)
ON CONFLICT ON CONSTRAINT pruned_pk DO UPDATE SET
    before = greatest(p.before, excluded.before),
    at = CASE WHEN excluded.before IS NULL THEN excluded.at ELSE p.at END;

-- name: pruned
-- Before when what was received may be gone. $1 class.
SELECT before FROM pruned WHERE class = $1;

-- name: last_run
-- When the classes were gone over last; NULL where one never was. $1 classes.
SELECT CASE WHEN count(p.at) = count(*) THEN min(p.at) END FROM unnest($1::text[]) AS c (class) LEFT JOIN pruned p USING (class);

-- name: take_turn
-- One at a time; held until the connection ends. $1 the lock.
SELECT pg_try_advisory_lock($1);

-- name: organizations
-- Whose log of acts is to say it.
SELECT id FROM organizations ORDER BY id;

-- name: owns
-- Whether we are the owner of the events, or may do what the owner may.
SELECT pg_has_role(current_user, relowner, 'USAGE') FROM pg_class WHERE oid = 'events'::regclass;
