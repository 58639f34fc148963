-- What people and customers read. All run in a tenant's transaction, under row-level security.

-- name: user
-- $1 project, $2 customer's user id.
SELECT id, external_id, display_name, attributes, timezone, zone_history, blocked_at, created_at
FROM users WHERE project_id = $1 AND external_id = $2;

-- name: balances
-- $1 project, $2 user.
SELECT currency, amount, level, debt FROM balances WHERE project_id = $1 AND user_id = $2;

-- name: metrics
-- $1 project, $2 user.
SELECT metric, value FROM metrics WHERE project_id = $1 AND user_id = $2;

-- name: streaks
-- $1 project, $2 user.
SELECT streak, active::text, excused::text, run_start, last_period, length, longest, freeze_credit
FROM streaks WHERE project_id = $1 AND user_id = $2;

-- name: achievements
-- $1 project, $2 user.
SELECT achievement, tier, times, event_id, unlocked_at, mark FROM achievements WHERE project_id = $1 AND user_id = $2;

-- name: history
-- Decisions about a user with their events and transfers, newest first. $1 project, $2 user, $3 before this event id, $4 limit.
SELECT d.event_id, d.status, d.reason, d.program_version, d.trace, e.type, e.occurred_at, e.received_at,
       (SELECT json_agg(json_build_object('currency', t.currency, 'debit', t.debit, 'credit', t.credit, 'amount', t.amount,
                                          'rule', t.rule) ORDER BY t.ordinal)
        FROM transfers t WHERE t.project_id = d.project_id AND t.event_id = d.event_id) AS transfers
FROM decisions d
JOIN events e ON e.project_id = d.project_id AND e.id = d.event_id
WHERE d.project_id = $1 AND d.user_id = $2 AND d.event_id < $3
ORDER BY d.event_id DESC
LIMIT $4;

-- name: traces
-- What decisions about a user changed, newest first, of those that were applied. $1 project, $2 user, $3 before this event id,
-- $4 limit.
SELECT d.event_id, e.occurred_at, d.trace
FROM decisions d
JOIN events e ON e.project_id = d.project_id AND e.id = d.event_id
WHERE d.project_id = $1 AND d.user_id = $2 AND d.event_id < $3 AND d.status = 'processed'
ORDER BY d.event_id DESC
LIMIT $4;

-- name: find_event
-- The id of the event that one of these hashed keys belongs to. $1 project, $2 key hashes, most specific first.
SELECT d.event_id FROM unnest($2::bytea[]) WITH ORDINALITY AS k (key_hash, place)
JOIN dedupe_keys d ON d.project_id = $1 AND d.key_hash = k.key_hash
ORDER BY k.place LIMIT 1;

-- name: event
-- One event with all that became of it. $1 project, $2 event id.
SELECT e.id, e.type, e.external_user, e.payload, e.occurred_at, e.received_at, e.external_id, e.source, e.schema_version,
       e.spec_version, e.partition_key, e.correlation_id, e.context, e.sent_with,
       d.status, d.reason, d.program_version, d.trace,
       l.reason AS dead_reason, l.message AS dead_message, l.failed_at,
       r.status AS review_status, r.reason AS review_reason, r.decided_by AS review_by,
       (SELECT json_agg(json_build_object('number', a.number, 'status', a.status, 'reason', a.reason, 'message', a.message,
                                          'durationUs', a.duration_us, 'at', a.at) ORDER BY a.number)
        FROM attempts a WHERE a.project_id = e.project_id AND a.event_id = e.id) AS attempts,
       (SELECT json_agg(json_build_object('currency', t.currency, 'debit', t.debit, 'credit', t.credit, 'amount', t.amount,
                                          'rule', t.rule) ORDER BY t.ordinal)
        FROM transfers t WHERE t.project_id = e.project_id AND t.event_id = e.id) AS transfers
FROM events e
LEFT JOIN decisions d ON d.project_id = e.project_id AND d.event_id = e.id
LEFT JOIN dead_letters l ON l.project_id = e.project_id AND l.event_id = e.id
LEFT JOIN reviews r ON r.project_id = e.project_id AND r.event_id = e.id
WHERE e.project_id = $1 AND e.id = $2;

-- name: events
-- Events, newest first, optionally of one type. $1 project, $2 before this event id, $3 type or NULL, $4 limit.
SELECT e.id, e.type, e.external_user, e.occurred_at, e.received_at, e.external_id, d.status, d.reason, l.reason AS dead_reason
FROM events e
LEFT JOIN decisions d ON d.project_id = e.project_id AND d.event_id = e.id
LEFT JOIN dead_letters l ON l.project_id = e.project_id AND l.event_id = e.id
WHERE e.project_id = $1 AND e.id < $2 AND ($3::text IS NULL OR e.type = $3)
ORDER BY e.id DESC
LIMIT $4;

-- name: events_of_user
-- A user's events, newest first: decided, waiting and dead-lettered ones from where each kind is indexed by user.
-- $1 project, $2 before this event id, $3 type or NULL, $4 limit, $5 customer's user id, $6 its hash, $7 status or NULL.
(SELECT e.id, e.type, e.external_user, e.occurred_at, e.received_at, e.external_id, d.status, d.reason, NULL AS dead_reason
 FROM decisions d
 JOIN events e ON e.project_id = d.project_id AND e.id = d.event_id
 WHERE d.project_id = $1 AND d.user_id = (SELECT u.id FROM users u WHERE u.project_id = $1 AND u.external_id = $5)
     AND d.event_id < $2 AND ($3::text IS NULL OR e.type = $3) AND ($7::text IS NULL OR d.status = $7)
 ORDER BY d.event_id DESC LIMIT $4)
UNION ALL
(SELECT e.id, e.type, e.external_user, e.occurred_at, e.received_at, e.external_id, NULL, NULL, NULL
 FROM (SELECT project_id, event_id FROM outbox WHERE project_id = $1 AND user_hash = $6
       UNION ALL SELECT project_id, event_id FROM retries WHERE project_id = $1 AND user_hash = $6) o
 JOIN events e ON e.project_id = o.project_id AND e.id = o.event_id
 WHERE o.event_id < $2 AND e.external_user = $5
     AND ($3::text IS NULL OR e.type = $3) AND ($7::text IS NULL OR $7 = 'pending')
 ORDER BY o.event_id DESC LIMIT $4)
UNION ALL
(SELECT e.id, e.type, e.external_user, e.occurred_at, e.received_at, e.external_id, NULL, NULL, l.reason
 FROM dead_letters l
 JOIN events e ON e.project_id = l.project_id AND e.id = l.event_id
 WHERE l.project_id = $1 AND l.user_hash = $6 AND l.event_id < $2 AND e.external_user = $5
     AND ($3::text IS NULL OR e.type = $3) AND ($7::text IS NULL OR $7 = 'failed')
 ORDER BY l.event_id DESC LIMIT $4)
ORDER BY id DESC LIMIT $4;

-- name: events_decided
-- Events that were processed or refused, newest first. $1 project, $2 before this event id, $3 type or NULL, $4 limit,
-- $5 status.
SELECT e.id, e.type, e.external_user, e.occurred_at, e.received_at, e.external_id, d.status, d.reason, NULL AS dead_reason
FROM decisions d
JOIN events e ON e.project_id = d.project_id AND e.id = d.event_id
WHERE d.project_id = $1 AND d.event_id < $2 AND ($3::text IS NULL OR e.type = $3) AND d.status = $5
ORDER BY d.event_id DESC
LIMIT $4;

-- name: events_pending
-- Events that wait to be applied, newest first. $1 project, $2 before this event id, $3 type or NULL, $4 limit.
SELECT e.id, e.type, e.external_user, e.occurred_at, e.received_at, e.external_id, NULL AS status, NULL AS reason,
       NULL AS dead_reason
FROM (SELECT project_id, event_id FROM outbox WHERE project_id = $1
      UNION ALL SELECT project_id, event_id FROM retries WHERE project_id = $1) o
JOIN events e ON e.project_id = o.project_id AND e.id = o.event_id
WHERE o.event_id < $2 AND ($3::text IS NULL OR e.type = $3)
ORDER BY o.event_id DESC
LIMIT $4;

-- name: events_failed
-- Events that gave up, newest first. $1 project, $2 before this event id, $3 type or NULL, $4 limit.
SELECT e.id, e.type, e.external_user, e.occurred_at, e.received_at, e.external_id, NULL AS status, NULL AS reason,
       l.reason AS dead_reason
FROM dead_letters l
JOIN events e ON e.project_id = l.project_id AND e.id = l.event_id
WHERE l.project_id = $1 AND l.event_id < $2 AND ($3::text IS NULL OR e.type = $3)
ORDER BY l.event_id DESC
LIMIT $4;
