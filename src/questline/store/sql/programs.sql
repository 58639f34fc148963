-- name: current
-- What processing must know of these projects: the version in force, the zone, types marked in the settings. $1 project ids.
SELECT id, program_version, timezone, settings -> 'trustedTypes' AS trusted_types FROM projects WHERE id = ANY ($1::integer[]);

-- name: document
-- One version's document. $1 project id, $2 version.
SELECT document FROM program_versions WHERE project_id = $1 AND version = $2;
