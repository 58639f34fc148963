-- name: lock
-- Lock these users until the transaction ends, in one order for everybody, and return them.
-- $1 project ids, $2 customers' user ids. Users that do not exist are left out.
SELECT u.id, u.project_id, u.external_id, u.attributes, u.display_name, u.timezone, u.zone_history, u.blocked_at, u.parked
FROM unnest($1::integer[], $2::text[]) AS i (project_id, external_id)
JOIN users u ON u.project_id = i.project_id AND u.external_id = i.external_id
ORDER BY u.id
FOR NO KEY UPDATE OF u;

-- name: lock_late
-- Lock users as above that somebody created meanwhile, or fail at once (55P03): who waits for them here holds locks of greater
-- ids, and users of its own that others may wait for.
SELECT u.id, u.project_id, u.external_id, u.attributes, u.display_name, u.timezone, u.zone_history, u.blocked_at, u.parked
FROM unnest($1::integer[], $2::text[]) AS i (project_id, external_id)
JOIN users u ON u.project_id = i.project_id AND u.external_id = i.external_id
ORDER BY u.id
FOR NO KEY UPDATE OF u NOWAIT;

-- name: lock_free
-- Lock users as above, as far as nobody else holds them: it waits for none, so their order does not matter.
SELECT u.id, u.project_id, u.external_id, u.attributes, u.display_name, u.timezone, u.zone_history, u.blocked_at, u.parked
FROM unnest($1::integer[], $2::text[]) AS i (project_id, external_id)
JOIN users u ON u.project_id = i.project_id AND u.external_id = i.external_id
ORDER BY u.id
FOR NO KEY UPDATE OF u SKIP LOCKED;

-- name: create
-- Create users first seen in an event; those created by somebody else meanwhile are left out. $1 projects, $2 ids.
INSERT INTO users (project_id, external_id)
SELECT i.project_id, i.external_id FROM unnest($1::integer[], $2::text[]) AS i (project_id, external_id)
ORDER BY i.project_id, i.external_id
ON CONFLICT ON CONSTRAINT users_external_id_is_unique DO NOTHING
RETURNING id, project_id, external_id, attributes, display_name, timezone, zone_history, blocked_at, parked;

-- name: update_profiles
-- Write whole profiles of locked users. $1 projects, $2 ids, $3 attributes, $4 names, $5 zones, $6 zone histories.
UPDATE users u SET attributes = i.attributes::jsonb, display_name = i.display_name, timezone = i.timezone,
                   zone_history = i.zone_history::jsonb
FROM unnest($1::integer[], $2::bigint[], $3::text[], $4::text[], $5::text[], $6::text[])
     AS i (project_id, id, attributes, display_name, timezone, zone_history)
WHERE u.project_id = i.project_id AND u.id = i.id;
