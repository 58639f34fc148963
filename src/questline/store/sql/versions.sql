-- name: lock
-- Take the right to write the project's next version. $1 project id.
SELECT program_version FROM projects WHERE id = $1 FOR NO KEY UPDATE;

-- name: get
-- $1 project id, $2 version.
SELECT version, document, applied_by, applied_at FROM program_versions WHERE project_id = $1 AND version = $2;

-- name: list
-- Versions below $2, newest first, $3 at most. $1 project id.
SELECT version, applied_by, applied_at FROM program_versions
WHERE project_id = $1 AND version < $2 ORDER BY version DESC LIMIT $3;

-- name: latest_definitions
-- The newest definition of each name in a section of any version so far. $1 project id, $2 section, $3 names.
SELECT DISTINCT ON (d.key) d.key, d.value
FROM program_versions v, json_each(v.document -> $2) d
WHERE v.project_id = $1 AND d.key = ANY ($3::text[])
ORDER BY d.key, v.version DESC;

-- name: add
-- $1 project id, $2 version, $3 document, $4 who.
INSERT INTO program_versions (project_id, version, document, applied_by) VALUES ($1, $2, $3::json, $4)
RETURNING applied_at;

-- name: put_in_force
-- $1 project id, $2 version, $3 event types it leaves to servers, $4 the only ones it takes, or null.
UPDATE projects SET program_version = $2, trusted_types = $3, known_types = $4 WHERE id = $1;
