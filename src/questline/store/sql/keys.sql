-- name: find
-- The key of a hash with its project, unless revoked. $1 SHA-256 of the key.
SELECT k.id AS key_id, k.type, k.role, k.last_used_at, p.id, p.organization_id, p.app_id, p.name, p.timezone, p.settings,
       p.program_version
FROM api_keys k
JOIN projects p ON p.id = k.project_id
WHERE k.key_hash = $1 AND k.revoked_at IS NULL;

-- name: touch
-- Note when keys were last used, to the minute. $1 key ids.
UPDATE api_keys SET last_used_at = date_trunc('minute', now())
WHERE id = ANY ($1::uuid[]) AND (last_used_at IS NULL OR last_used_at < date_trunc('minute', now()));

-- name: create
-- Store a new key and return when it was made. $1 project, $2 id, $3 SHA-256, $4 prefix, $5 type, $6 role, $7 name.
INSERT INTO api_keys (id, project_id, key_hash, prefix, type, role, name)
VALUES ($2, $1, $3, $4, $5, $6, $7)
RETURNING created_at;

-- name: list
-- Every key of a project, newest first; never the key itself. $1 project.
SELECT id, prefix, type, role, name, created_at, last_used_at, revoked_at
FROM api_keys WHERE project_id = $1 ORDER BY created_at DESC, id DESC;

-- name: revoke
-- $1 project, $2 key. Revoking twice keeps the first time; no row: no such key.
UPDATE api_keys SET revoked_at = coalesce(revoked_at, now()) WHERE project_id = $1 AND id = $2
RETURNING id;
