-- Secrets that are stored sealed, for the operator who rotates the key they are sealed with.

-- name: all
-- Every stored secret: project, its id outside, slot (null: of webhooks), as it is stored.
SELECT id AS project_id, app_id, NULL::smallint AS slot, webhook_secret AS stored FROM projects WHERE webhook_secret IS NOT NULL
UNION ALL
SELECT s.project_id, p.app_id, s.slot, s.sealed FROM signing_secrets s JOIN projects p ON p.id = s.project_id;

-- name: replace_webhook
-- No row: it was changed meanwhile. $1 project, $2 as it was stored, $3 as it is to be.
UPDATE projects SET webhook_secret = $3 WHERE id = $1 /* project */ AND webhook_secret = $2 RETURNING id;

-- name: replace_signing
-- No row: it was changed meanwhile. $1 project, $2 as it was stored, $3 as it is to be, $4 slot.
UPDATE signing_secrets SET sealed = $3 WHERE project_id = $1 AND slot = $4 AND sealed = $2 RETURNING id;
