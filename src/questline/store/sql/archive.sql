-- Rows of one partition, page by page in the order of their primary key, so that no long transaction is open. {partition} is
-- a checked name of ours. Each takes the key to go on from, then the id that events lie below, then how many rows.

-- name: events
-- $1 project and $2 id to go on from.
SELECT project_id, id, type, external_user, payload, occurred_at, received_at, external_id, source, schema_version, spec_version,
       partition_key, correlation_id, context, sent_with, traceparent
FROM {partition} WHERE (project_id, id) > ($1, $2) AND id < $3 ORDER BY project_id, id LIMIT $4;

-- name: decisions
-- $1 project and $2 event to go on from.
SELECT project_id, event_id, user_id, status, reason, program_version, trace
FROM {partition} WHERE (project_id, event_id) > ($1, $2) AND event_id < $3 ORDER BY project_id, event_id LIMIT $4;

-- name: attempts
-- $1 project, $2 event and $3 number to go on from.
SELECT project_id, event_id, number, status, reason, message, duration_us, at
FROM {partition} WHERE (project_id, event_id, number) > ($1, $2, $3) AND event_id < $4
ORDER BY project_id, event_id, number LIMIT $5;

-- name: notices
-- $1 project, $2 event and $3 ordinal to go on from.
SELECT project_id, event_id, ordinal, user_id, type, data, at
FROM {partition} WHERE (project_id, event_id, ordinal) > ($1, $2, $3) AND event_id < $4
ORDER BY project_id, event_id, ordinal LIMIT $5;

-- name: projects
-- The ids of projects outside, by ours.
SELECT id, app_id FROM projects;
