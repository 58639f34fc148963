-- Secrets of signed events. What is stored is sealed (store/sealing.py).

-- name: hold
-- Let nobody else change the project until the transaction ends, and every process ask again for what it knows of it then.
-- $1 project.
UPDATE projects SET name = name WHERE id = $1 /* project */;

-- name: list
-- The secrets a project holds, the current one first. $1 project.
SELECT id, prefix, created_at, ends_at FROM signing_secrets WHERE project_id = $1 ORDER BY ends_at DESC NULLS FIRST;

-- name: drop_oldest
-- Remove the one that was rotated out before, where there is a current one, to make room for another. $1 project.
DELETE FROM signing_secrets
WHERE project_id = $1 AND ends_at IS NOT NULL
    AND EXISTS (SELECT FROM signing_secrets s WHERE s.project_id = $1 AND s.ends_at IS NULL);

-- name: end_current
-- Let the current secret end after an overlap, or at its own end where that is sooner. $1 project, $2 seconds.
UPDATE signing_secrets SET ends_at = least(ends_at, now() + make_interval(secs => $2)) WHERE project_id = $1;

-- name: add
-- Store a secret in the slot that is free. $1 project, $2 id, $3 sealed, $4 prefix.
INSERT INTO signing_secrets (project_id, slot, id, sealed, prefix)
SELECT $1, coalesce((SELECT 1 - max(slot) FROM signing_secrets WHERE project_id = $1), 0), $2, $3, $4;

-- name: remove
-- $1 project, $2 id. No row: the project has no such secret.
DELETE FROM signing_secrets WHERE project_id = $1 AND id = $2 RETURNING id;
