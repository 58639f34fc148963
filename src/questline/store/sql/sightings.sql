-- Which users bore a value that guards compare them by. A value's row is locked from the moment a batch looks at it.

-- name: load
-- Lock the values in one order for everybody, those that nobody has borne yet too, and return who bore them.
-- $1 projects, $2 guards, $3 hashes, each once and sorted; $4 now: a row that gets no sighting is swept away.
INSERT INTO sightings AS s (project_id, guard, value_hash, users, expires_at)
SELECT project_id, guard, value_hash, '[]', $4::timestamptz
FROM unnest($1::integer[], $2::text[], $3::bytea[]) AS i (project_id, guard, value_hash)
ON CONFLICT ON CONSTRAINT sightings_pk DO UPDATE SET expires_at = s.expires_at
RETURNING project_id, guard, value_hash, users;

-- name: put
-- Who bore the values now. Arrays, a column each; the rows are there and locked.
UPDATE sightings s SET users = i.users::json, expires_at = greatest(s.expires_at, i.expires_at)
FROM unnest($1::integer[], $2::text[], $3::bytea[], $4::text[], $5::timestamptz[])
     AS i (project_id, guard, value_hash, users, expires_at)
WHERE s.project_id = i.project_id AND s.guard = i.guard AND s.value_hash = i.value_hash;

-- name: sweep
-- Forget values of any project that nothing is compared with any more, leaving out those in use. $1 now, $2 limit.
DELETE FROM sightings s USING (
    SELECT project_id, guard, value_hash FROM sightings
    WHERE expires_at < $1::timestamptz ORDER BY expires_at LIMIT $2::integer FOR UPDATE SKIP LOCKED) AS old
WHERE s.project_id = old.project_id AND s.guard = old.guard AND s.value_hash = old.value_hash;
