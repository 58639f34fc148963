-- Grants as they are listed and swept; the engine's loads and writes of them stand in records.sql.

-- name: of_user
-- A user's grants, newest first, as of an instant: one that nobody claimed in time has expired whether or not the sweep
-- has been there. A code is told when it was shown. $1 project, $2 user, $3 before this id, $4 status or NULL, $5 now,
-- $6 limit.
SELECT g.grant_id, g.reward, g.status, g.cause, g.at, g.expires_at, g.settled_at, g.holds, g.limited, g.given, c.code
FROM grants g
LEFT JOIN coupons c ON c.project_id = g.project_id AND c.holder = g.grant_id AND c.shown_by IS NOT NULL
WHERE g.project_id = $1 AND g.user_id = $2 AND g.grant_id < $3
    AND ($4::text IS NULL
         OR CASE WHEN g.status = 'PENDING' AND g.expires_at <= $5 THEN 'EXPIRED' ELSE g.status END = $4)
ORDER BY g.grant_id DESC
LIMIT $6;

-- name: owner
-- The customer's id of the user who has a grant. $1 project, $2 grant.
SELECT u.external_id FROM grants g JOIN users u ON u.project_id = g.project_id AND u.id = g.user_id
WHERE g.project_id = $1 AND g.grant_id = $2;

-- name: given
-- What grants gave, and to whom. $1 projects, $2 grants.
SELECT g.user_id, g.given
FROM unnest($1::integer[], $2::text[]) AS i (project_id, grant_id)
JOIN grants g ON g.project_id = i.project_id AND g.grant_id = i.grant_id;

-- name: due_of
-- Whose the next grants are whose time is over. $1 now, $2 limit, $3 projects that are passed by.
SELECT DISTINCT project_id FROM (
    SELECT project_id FROM grants
    WHERE status = 'PENDING' AND NOT expiry_sent AND expires_at <= $1 AND project_id <> ALL($3::integer[])
    ORDER BY expires_at LIMIT $2) AS due;

-- name: take_due
-- Mark grants whose time is over as being on their way to expire, and return them; those that somebody else is marking
-- or changing are left for the next time. $1 now, $2 limit, $3 projects that are passed by: the sweep is one for all others.
WITH due AS (
    SELECT project_id, grant_id, user_id FROM grants
    WHERE status = 'PENDING' AND NOT expiry_sent AND expires_at <= $1 AND project_id <> ALL($3::integer[])
    ORDER BY expires_at LIMIT $2
    FOR NO KEY UPDATE SKIP LOCKED
)
UPDATE grants g SET expiry_sent = true
FROM due JOIN users u ON u.project_id = due.project_id AND u.id = due.user_id
WHERE g.project_id = due.project_id AND g.grant_id = due.grant_id
RETURNING g.project_id, g.grant_id, u.external_id;
