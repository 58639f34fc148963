-- Held events: read by those who review them, and by processing to apply what was approved.

-- name: held
-- The held events behind reviews. $1 projects, $2 event ids.
SELECT e.project_id, e.id, e.type, e.external_user, e.payload, e.occurred_at, e.source, e.schema_version, e.context
FROM unnest($1::integer[], $2::uuid[]) AS i (project_id, event_id)
JOIN reviews r ON r.project_id = i.project_id AND r.event_id = i.event_id
JOIN events e ON e.project_id = r.project_id AND e.id = r.event_id;

-- name: listed
-- Held events that stand so, newest first. $1 project, $2 status, $3 before this event id, $4 limit.
SELECT r.event_id, r.status, r.reason, r.decided_by, e.external_id, e.type, e.external_user, e.payload, e.occurred_at,
       e.received_at, d.trace
FROM reviews r
JOIN events e ON e.project_id = r.project_id AND e.id = r.event_id
JOIN decisions d ON d.project_id = r.project_id AND d.event_id = r.event_id
WHERE r.project_id = $1 AND r.status = $2 AND r.event_id < $3
ORDER BY r.event_id DESC
LIMIT $4;

-- name: one
-- One held event, as far as a review needs it. $1 project, $2 event id.
SELECT r.event_id, r.status, r.reason, r.decided_by, e.external_user, e.occurred_at
FROM reviews r
JOIN events e ON e.project_id = r.project_id AND e.id = r.event_id
WHERE r.project_id = $1 AND r.event_id = $2;
