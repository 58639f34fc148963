-- name: default_organization
-- The organization that projects belong to unless they name another. $1 its id outside.
INSERT INTO organizations (slug, name) VALUES ($1, 'Default')
ON CONFLICT ON CONSTRAINT organizations_slug_is_unique DO UPDATE SET slug = excluded.slug
RETURNING id;

-- name: create
-- No row: the id is taken. $1 organization, $2 id, $3 name, $4 zone, $5 settings, $6 webhook url, $7 its secret.
INSERT INTO projects (organization_id, app_id, name, timezone, settings, webhook_url, webhook_secret)
VALUES ($1, $2, $3, $4, $5::jsonb, $6, $7)
ON CONFLICT ON CONSTRAINT projects_app_id_is_unique DO NOTHING
RETURNING id, organization_id, app_id, name, timezone, settings, rates, program_version, trusted_types, known_types, webhook_url,
       created_at, archived_at;

-- name: find
-- A project by its id outside. $1 id.
SELECT id, organization_id, app_id, name, timezone, settings, rates, program_version, trusted_types, known_types, webhook_url,
       created_at, archived_at
FROM projects WHERE app_id = $1;

-- name: app_ids
-- The ids outside of these projects, for metrics. $1 ids.
SELECT id, app_id FROM projects WHERE id = ANY ($1::integer[]);

-- name: ids
-- Every project, for an operator.
SELECT id FROM projects ORDER BY id;

-- name: set_rates
-- What an operator grants a project. $1 id, $2 limits or null; no row: there is no such project.
UPDATE projects SET rates = $2::jsonb WHERE app_id = $1
RETURNING id, organization_id, app_id, name, timezone, settings, rates, program_version, trusted_types, known_types, webhook_url,
       created_at, archived_at;

-- name: lock
-- $1 project.
SELECT id, organization_id, app_id, name, timezone, settings, rates, program_version, trusted_types, known_types, webhook_url,
       created_at, archived_at
FROM projects WHERE id = $1 FOR UPDATE;

-- name: update
-- $1 project, $2 name, $3 zone, $4 settings, $5 webhook url or null, $6 its secret, or null: it stays.
UPDATE projects SET name = $2, timezone = $3, settings = $4::jsonb, webhook_url = $5, webhook_secret = coalesce($6, webhook_secret)
WHERE id = $1
RETURNING id, organization_id, app_id, name, timezone, settings, rates, program_version, trusted_types, known_types, webhook_url,
       created_at, archived_at;
