-- Organizations, and their projects as whoever manages them sees these.

-- name: create
-- No row: the id is taken. $1 id outside, $2 name.
INSERT INTO organizations (slug, name) VALUES ($1, $2)
ON CONFLICT ON CONSTRAINT organizations_slug_is_unique DO NOTHING
RETURNING id, slug, name, created_at, archived_at;

-- name: find
-- One organization. $1 its id outside.
SELECT id, slug, name, created_at, archived_at FROM organizations WHERE slug = $1;

-- name: lock
-- One organization, held until the transaction ends: its projects and owners change one at a time. $1 organization.
SELECT id, slug, name, created_at, archived_at FROM organizations WHERE id = $1 FOR UPDATE;

-- name: list
-- Organizations after an id outside, in order; those of one member with their role where a member is given.
-- $1 id, $2 member or null, $3 how many.
SELECT o.id, o.slug, o.name, o.created_at, o.archived_at, m.role
FROM organizations o
LEFT JOIN memberships m ON m.organization_id = o.id AND m.member_id = $2
WHERE o.slug > $1 AND ($2::uuid IS NULL OR m.member_id IS NOT NULL AND o.archived_at IS NULL)
ORDER BY o.slug LIMIT $3;

-- name: rename
-- $1 organization, $2 name.
UPDATE organizations SET name = $2 WHERE id = $1;

-- name: archive
-- $1 organization.
UPDATE organizations SET archived_at = coalesce(archived_at, now()) WHERE id = $1;

-- name: has_projects
-- Whether an organization has a project that is not archived. $1 organization.
SELECT EXISTS (SELECT FROM projects WHERE organization_id = $1 AND archived_at IS NULL);

-- name: projects
-- An organization's projects after an id outside, in order. $1 organization, $2 id, $3 how many.
SELECT id, organization_id, app_id, name, timezone, settings, rates, program_version, trusted_types, known_types, webhook_url,
       created_at, archived_at
FROM projects WHERE organization_id = $1 AND app_id > $2 ORDER BY app_id LIMIT $3;

-- name: set_archived
-- Archive or restore a project; no row: the organization has none of that id, or it is so already.
-- $1 organization, $2 id outside, $3 whether it is to be archived.
UPDATE projects SET archived_at = CASE WHEN $3 THEN now() END
WHERE organization_id = $1 AND app_id = $2 AND (archived_at IS NULL) = $3
RETURNING id;

-- name: has_project
-- $1 organization, $2 project's id outside.
SELECT EXISTS (SELECT FROM projects WHERE organization_id = $1 AND app_id = $2);
