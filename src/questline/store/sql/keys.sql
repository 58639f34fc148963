-- API keys: found by their SHA-256, made, rotated and revoked.

-- name: find
-- The key of a hash with its project, unless it is revoked or over, or the project is archived. $1 SHA-256 of the key.
SELECT k.id AS key_id, k.type, k.role, k.scopes, extract(epoch FROM k.expires_at - now())::float8 AS seconds_left,
       p.id, p.organization_id, p.app_id, p.name, p.timezone, p.settings, p.rates, p.program_version, p.trusted_types,
       p.known_types,
       (SELECT json_agg(json_build_array(s.sealed, s.ends_at) ORDER BY s.ends_at DESC NULLS FIRST) FROM signing_secrets s
        WHERE s.project_id = p.id AND (s.ends_at IS NULL OR s.ends_at > now())) AS signing_secrets
FROM api_keys k
JOIN projects p ON p.id = k.project_id
JOIN organizations o ON o.id = p.organization_id
WHERE k.key_hash = $1 AND k.revoked_at IS NULL AND (k.expires_at IS NULL OR k.expires_at > now())
    AND p.archived_at IS NULL AND o.archived_at IS NULL;

-- name: project
-- A project as users reach it by tokens of theirs, unless it is archived. $1 the project's id outside.
SELECT p.id, p.organization_id, p.app_id, p.name, p.timezone, p.settings, p.rates, p.program_version, p.trusted_types,
       p.known_types,
       (SELECT json_agg(json_build_array(s.sealed, s.ends_at) ORDER BY s.ends_at DESC NULLS FIRST) FROM signing_secrets s
        WHERE s.project_id = p.id AND (s.ends_at IS NULL OR s.ends_at > now())) AS signing_secrets
FROM projects p
JOIN organizations o ON o.id = p.organization_id
WHERE p.app_id = $1 /* project */ AND p.archived_at IS NULL AND o.archived_at IS NULL;

-- name: touch
-- Note when keys were last used, to the minute. $1 key ids.
UPDATE api_keys SET last_used_at = date_trunc('minute', now())
WHERE id = ANY ($1::uuid[]) AND (last_used_at IS NULL OR last_used_at < date_trunc('minute', now()));

-- name: create
-- Store a new key. $1 project, $2 id, $3 SHA-256, $4 prefix, $5 type, $6 role, $7 name, $8 scopes or null, $9 end or null.
INSERT INTO api_keys (id, project_id, key_hash, prefix, type, role, name, scopes, expires_at)
VALUES ($2, $1, $3, $4, $5, $6, $7, $8, $9)
RETURNING id, prefix, type, role, name, scopes, created_at, last_used_at, expires_at, revoked_at, replaced_by;

-- name: list
-- Every key of a project, newest first; never the key itself. $1 project.
SELECT id, prefix, type, role, name, scopes, created_at, last_used_at, expires_at, revoked_at, replaced_by
FROM api_keys WHERE project_id = $1 ORDER BY created_at DESC, id DESC;

-- name: lock
-- One key, held until the transaction ends; `over` where it is revoked or at its end. $1 project, $2 key.
SELECT id, prefix, type, role, name, scopes, created_at, last_used_at, expires_at, revoked_at, replaced_by,
       revoked_at IS NOT NULL OR coalesce(expires_at <= now(), false) AS over
FROM api_keys WHERE project_id = $1 AND id = $2 FOR UPDATE;

-- name: replace
-- Let a key end after an overlap, or at its own end where that is sooner. $1 project, $2 key, $3 the new one, $4 seconds.
UPDATE api_keys SET replaced_by = $3, expires_at = least(expires_at, now() + make_interval(secs => $4))
WHERE project_id = $1 AND id = $2
RETURNING expires_at;

-- name: revoke
-- $1 project, $2 key. Revoking twice keeps the first time; no row: no such key.
UPDATE api_keys SET revoked_at = coalesce(revoked_at, now()) WHERE project_id = $1 AND id = $2
RETURNING revoked_at;
