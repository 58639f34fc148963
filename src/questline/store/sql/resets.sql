-- Tokens by which somebody who forgot their password chooses another, once.

-- name: issue
-- Let a token of a user hold, in the place of one before. $1 project, $2 user, $3 SHA-256 of the token, $4 end.
INSERT INTO password_resets (project_id, user_id, token_hash, expires_at) VALUES ($1, $2, $3, $4)
ON CONFLICT ON CONSTRAINT password_resets_pk DO UPDATE
SET token_hash = excluded.token_hash, expires_at = excluded.expires_at;

-- name: find
-- Whose a token is that holds, unless the project is archived. $1 SHA-256 of the token, $2 now.
SELECT r.project_id, r.user_id, p.organization_id
FROM password_resets r JOIN projects p ON p.id = r.project_id JOIN organizations o ON o.id = p.organization_id
WHERE r.token_hash = $1 AND r.expires_at > $2 AND p.archived_at IS NULL AND o.archived_at IS NULL;

-- name: burn
-- Of any number at once, one gets a row. $1 project, $2 user, $3 SHA-256 of the token; null: whichever there is.
DELETE FROM password_resets
WHERE project_id = $1 AND user_id = $2 AND ($3::bytea IS NULL OR token_hash = $3)
RETURNING user_id;

-- name: issue_to_member
-- $1 member, $2 SHA-256 of the token, $3 seconds it holds.
INSERT INTO member_password_resets (member_id, token_hash, expires_at)
VALUES ($1, $2, now() + make_interval(secs => $3))
ON CONFLICT ON CONSTRAINT member_password_resets_pk DO UPDATE
SET token_hash = excluded.token_hash, expires_at = excluded.expires_at
RETURNING expires_at;

-- name: find_of_member
-- Whose a token is that holds. $1 SHA-256 of the token.
SELECT member_id FROM member_password_resets WHERE token_hash = $1 AND expires_at > now();

-- name: burn_of_member
-- Of any number at once, one gets a row. $1 member, $2 SHA-256 of the token; null: whichever there is.
DELETE FROM member_password_resets WHERE member_id = $1 AND ($2::bytea IS NULL OR token_hash = $2)
RETURNING member_id;
