-- Invitations to organizations.

-- name: create
-- $1 organization, $2 id, $3 email, $4 role, $5 SHA-256 of the token, $6 by whom, $7 seconds it holds.
INSERT INTO invitations (id, organization_id, email, role, token_hash, invited_by, expires_at)
VALUES ($2, $1, $3, $4, $5, $6, now() + make_interval(secs => $7))
RETURNING id, organization_id, email, role, invited_by, created_at, expires_at, accepted_at, revoked_at, false AS over;

-- name: list
-- Those of an organization below an id, newest first. $1 organization, $2 id, $3 how many.
SELECT id, organization_id, email, role, invited_by, created_at, expires_at, accepted_at, revoked_at,
       expires_at <= now() AS over
FROM invitations WHERE organization_id = $1 AND id < $2 ORDER BY id DESC LIMIT $3;

-- name: lock
-- The invitation of a token, held until the transaction ends, unless its organization is archived. $1 SHA-256 of the token.
SELECT i.id, i.organization_id, i.email, i.role, i.invited_by, i.created_at, i.expires_at, i.accepted_at, i.revoked_at,
       i.expires_at <= now() AS over
FROM invitations i JOIN organizations o ON o.id = i.organization_id
WHERE i.token_hash = $1 AND o.archived_at IS NULL FOR UPDATE OF i;

-- name: accept
-- $1 invitation.
UPDATE invitations SET accepted_at = now() WHERE id = $1;

-- name: revoke
-- No row: there is none, or it has ended. $1 organization, $2 invitation.
UPDATE invitations SET revoked_at = now()
WHERE organization_id = $1 AND id = $2 AND accepted_at IS NULL AND revoked_at IS NULL
RETURNING id;
