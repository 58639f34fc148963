-- Replays: how far each has come, and the events they are about.

-- name: start
-- $1 project, $2 id, $3 mode, $4 program version, $5 first and $6 last event, $7 type, $8 user, $9 user hash, $10 status,
-- $11 events at most, $12 by whom, $13 why, $14 now, $15 total, $16 after this event, $17 metric.
INSERT INTO replays (project_id, id, mode, program_version, first_event, last_event, event_type, user_id, user_hash, status,
                     events_max, started_by, reason, started_at, total, after_event, metric)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)
RETURNING *;

-- name: find
-- $1 project, $2 id.
SELECT * FROM replays WHERE project_id = $1 AND id = $2;

-- name: listed
-- Newest first. $1 projects, $2 before this id, $3 limit.
SELECT * FROM replays WHERE project_id = ANY($1::integer[]) AND id < $2 ORDER BY id DESC LIMIT $3;

-- name: hold_next
-- Of those under way, of whichever project, one that nobody else holds; in a project one after another, oldest first.
-- $1 those that are passed by.
SELECT r.* FROM replays r
WHERE r.finished_at IS NULL AND r.id <> ALL($1::uuid[])
    AND NOT EXISTS (SELECT FROM replays o WHERE o.project_id = r.project_id AND o.finished_at IS NULL AND o.id < r.id)
ORDER BY r.examined, r.id LIMIT 1 FOR UPDATE SKIP LOCKED;

-- name: advance
-- $1 project, $2 id, $3 after this event, $4 after this user, $5 examined, $6 events and $7 changed in this batch, $8 now, if
-- it is over.
UPDATE replays SET after_event = $3, after_user = $4, examined = examined + $5, events = events + $6, changed = changed + $7,
                   finished_at = $8
WHERE project_id = $1 AND id = $2;

-- name: count_events
-- How many events lie between two ids, counted up to a bound. $1 project, $2 first, $3 last, $4 at most.
SELECT count(*) FROM (SELECT FROM events WHERE project_id = $1 AND id >= $2 AND id <= $3 LIMIT $4) AS seen;

-- name: events_after
-- The next events by id, whatever became of them. $1 project, $2 after, $3 last, $4 type or NULL, $5 limit.
SELECT e.id, e.external_user, ($4::text IS NULL OR e.type = $4) AS fits
FROM events e WHERE e.project_id = $1 AND e.id > $2 AND e.id <= $3
ORDER BY e.id LIMIT $5;

-- name: put_back_lost
-- Put those back that are nowhere: not decided, not waiting, no dead letter. One snapshot tells, so none is put back that is
-- being applied. $1 project, $2 events, $3 user hashes, $4 now, $5 limit.
WITH lost AS (
    SELECT i.event_id, i.user_hash
    FROM unnest($2::uuid[], $3::bigint[]) AS i (event_id, user_hash)
    WHERE NOT EXISTS (SELECT FROM decisions d WHERE d.project_id = $1 AND d.event_id = i.event_id)
        AND NOT EXISTS (SELECT FROM dead_letters l WHERE l.project_id = $1 AND l.event_id = i.event_id)
        AND NOT EXISTS (SELECT FROM retries r WHERE r.project_id = $1 AND r.event_id = i.event_id)
        AND NOT EXISTS (SELECT FROM outbox o WHERE o.user_hash = i.user_hash AND o.project_id = $1 AND o.event_id = i.event_id)
    ORDER BY i.event_id LIMIT $5
), held AS (
    INSERT INTO parked_users AS p (project_id, user_hash, partition, tries, since, due_at)
    SELECT DISTINCT $1::integer, user_hash, (user_hash & 63)::smallint, 0, $4::timestamptz, $4::timestamptz FROM lost ORDER BY 2
    ON CONFLICT ON CONSTRAINT parked_users_pk DO UPDATE SET due_at = p.due_at
)
INSERT INTO retries (project_id, event_id, user_hash, seq) SELECT $1, event_id, user_hash, 0 FROM lost
ON CONFLICT ON CONSTRAINT retries_pk DO NOTHING
RETURNING event_id;

-- name: users_after
-- The next users, and whether an event between two ids was decided for them. $1 project, $2 after this user, $3 the only user
-- or NULL, $4 first and $5 last event, $6 limit. A history whose beginning was pruned cannot be followed, so such users have
-- none; a day is for events that waited before they made their user.
SELECT u.id, u.external_id,
       EXISTS (SELECT FROM decisions d
               WHERE d.project_id = $1 AND d.user_id = u.id AND d.event_id >= $4 AND d.event_id <= $5)
           AND NOT EXISTS (SELECT FROM pruned p WHERE p.class = 'events' AND u.created_at < p.before + interval '1 day')
           AS has_events
FROM users u WHERE u.project_id = $1 AND u.id > $2 AND ($3::bigint IS NULL OR u.id = $3)
ORDER BY u.id LIMIT $6;

-- name: versions
-- The program versions that decided the users' events. $1 project, $2 users.
SELECT DISTINCT program_version FROM decisions WHERE project_id = $1 AND user_id = ANY($2::bigint[]);

-- name: history
-- The events applied to the users, each user's in the order of receipt. $1 project, $2 users.
SELECT d.user_id, d.program_version, r.event_id IS NOT NULL AS reviewed,
       e.id, e.type, e.external_user, e.payload, e.occurred_at, e.source, e.schema_version, e.received_at, e.context,
       e.sent_with
FROM decisions d
JOIN events e ON e.project_id = d.project_id AND e.id = d.event_id
LEFT JOIN reviews r ON r.project_id = d.project_id AND r.event_id = d.event_id
WHERE d.project_id = $1 AND d.user_id = ANY($2::bigint[]) AND d.status = 'processed'
ORDER BY d.user_id, d.event_id;

-- name: applied_of
-- How many events were applied to the users, of those with any. $1 project, $2 users.
SELECT d.user_id, count(*) FROM decisions d
WHERE d.project_id = $1 AND d.user_id = ANY($2::bigint[]) AND d.status = 'processed' GROUP BY d.user_id;

-- name: given
-- What events gave their users, by currency, for causes that begin so. $1 project, $2 events, $3 patterns of causes.
SELECT t.event_id, t.currency, sum(CASE WHEN t.credit = 'user' THEN t.amount ELSE -t.amount END)::bigint
FROM transfers t
WHERE t.project_id = $1 AND t.event_id = ANY($2::uuid[]) AND 'user' IN (t.debit, t.credit) AND t.rule LIKE ANY($3::text[])
GROUP BY t.event_id, t.currency;

-- name: unsettled
-- Whether events of a type wait to be applied. $1 project, $2 partitions, $3 type.
SELECT EXISTS (
    SELECT FROM (SELECT o.event_id FROM unnest($2::smallint[]) AS p (partition)
                 JOIN outbox o ON o.partition = p.partition AND o.project_id = $1
                 UNION ALL SELECT event_id FROM retries WHERE project_id = $1) AS waiting
    JOIN events e ON e.project_id = $1 AND e.id = waiting.event_id AND e.type = $3);

-- name: user_of
-- $1 project, $2 customer's user id.
SELECT id FROM users WHERE project_id = $1 AND external_id = $2;

-- name: count_users
-- How many users a project has, counted up to a bound. $1 project, $2 at most.
SELECT count(*) FROM (SELECT FROM users WHERE project_id = $1 LIMIT $2) AS seen;
