-- The log of administrative acts: appended in the transaction of what was done, read newest first.

-- name: add
-- Write acts down. $1 projects or nulls, $2 organizations, $3 ids, $4 actors, $5 actions, $6 kinds of target, $7 targets,
-- $8 before, $9 after, $10 events or nulls, $11 correlation ids, $12 addresses.
INSERT INTO audit_log (project_id, organization_id, id, actor, action, target_kind, target, before, after, event_id,
                       correlation_id, address)
SELECT project_id, organization_id, id, actor, action, target_kind, target, before::json, after::json, event_id,
       correlation_id, address
FROM unnest($1::integer[], $2::integer[], $3::uuid[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::text[],
            $10::uuid[], $11::text[], $12::text[])
    AS act (project_id, organization_id, id, actor, action, target_kind, target, before, after, event_id, correlation_id,
            address);

-- name: page
-- Acts below an id, newest first, with the project's and the user's names outside; of one project, or of an organization
-- and all its projects. $1 project or null, $2 organization, $3 id, $4 actor or null, $5 action or null, $6 kind of target or
-- null, $7 target or null, $8 from or null, $9 until or null, $10 how many.
SELECT a.id, a.at, a.actor, a.action, a.target_kind,
       coalesce(u.external_id, nullif(a.target, ''), e.external_user, '') AS target,
       a.before, a.after, a.event_id, a.correlation_id, a.address, p.app_id
FROM audit_log a
LEFT JOIN projects p ON p.id = a.project_id
LEFT JOIN events e ON e.project_id = a.project_id AND e.id = a.event_id
LEFT JOIN users u ON u.project_id = a.project_id
    AND u.id = CASE WHEN a.target_kind = 'user' AND a.target <> '' THEN a.target::bigint END
WHERE ($1::integer IS NULL OR a.project_id = $1) AND a.organization_id = $2 AND a.id < $3
    AND ($4::text IS NULL OR a.actor = $4) AND ($5::text IS NULL OR a.action = $5)
    AND ($6::text IS NULL OR a.target_kind = $6)
    AND ($7::text IS NULL OR coalesce(u.external_id, nullif(a.target, ''), e.external_user, '') = $7)
    AND ($8::timestamptz IS NULL OR a.at >= $8) AND ($9::timestamptz IS NULL OR a.at < $9)
ORDER BY a.id DESC LIMIT $10;
