-- Members, what they may do where, and their sessions.

-- name: find
-- $1 email, in lower case.
SELECT id, email, name, password_hash FROM members WHERE email = $1;

-- name: create
-- No row: the email is taken. $1 id, $2 email, $3 name, $4 hash of the password.
INSERT INTO members (id, email, name, password_hash) VALUES ($1, $2, $3, $4)
ON CONFLICT ON CONSTRAINT members_email_is_unique DO NOTHING
RETURNING id;

-- name: by_id
-- $1 id.
SELECT id, email, name, password_hash FROM members WHERE id = $1;

-- name: set_password
-- No row: they have another password by now. $1 member, $2 hash of the password, $3 the hash now, or null: whatever it is.
UPDATE members SET password_hash = $2 WHERE id = $1 AND ($3::text IS NULL OR password_hash = $3)
RETURNING id;

-- name: begin_session
-- Begin a session and forget those that are over. No row: the member has another password by now, than the one by which the
-- caller was let in; their row is locked, so that who changes it sees this session and ends it. $1 SHA-256 of the token,
-- $2 member, $3 seconds it lasts, $4 hash of that password.
WITH over AS (DELETE FROM member_sessions WHERE expires_at <= now())
INSERT INTO member_sessions (token_hash, member_id, expires_at)
SELECT $1::bytea, id, now() + make_interval(secs => $3) FROM members WHERE id = $2 AND password_hash = $4 FOR SHARE
RETURNING expires_at;

-- name: end_session
-- $1 SHA-256 of the token.
DELETE FROM member_sessions WHERE token_hash = $1;

-- name: end_other_sessions
-- All of a member's but one. $1 member, $2 SHA-256 of the token that goes on.
DELETE FROM member_sessions WHERE member_id = $1 AND token_hash <> $2;

-- name: end_sessions
-- $1 member.
DELETE FROM member_sessions WHERE member_id = $1;

-- name: of_session
-- Whose a session is, with the hash of their password. $1 SHA-256 of the token.
SELECT m.id, m.email, m.name, m.password_hash
FROM member_sessions s JOIN members m ON m.id = s.member_id
WHERE s.token_hash = $1 AND s.expires_at > now();

-- name: in_project
-- A member in one of their organization's projects. $1 SHA-256 of the session's token, $2 project's id outside.
SELECT m.member_id, m.role, extract(epoch FROM s.expires_at - now())::float8 AS seconds_left,
       p.id, p.organization_id, p.app_id, p.name, p.timezone, p.settings, p.rates, p.program_version, p.trusted_types,
       p.known_types
FROM member_sessions s
JOIN memberships m ON m.member_id = s.member_id
JOIN projects p ON p.organization_id = m.organization_id
JOIN organizations o ON o.id = p.organization_id
WHERE s.token_hash = $1 AND s.expires_at > now() AND p.app_id = $2 AND p.archived_at IS NULL AND o.archived_at IS NULL;

-- name: role
-- What a member is in an organization; no row: nothing. $1 organization, $2 member.
SELECT role FROM memberships WHERE organization_id = $1 AND member_id = $2;

-- name: organizations
-- Those that somebody is a member of. $1 member.
SELECT organization_id FROM memberships WHERE member_id = $1;

-- name: list
-- An organization's members, the first to join first. $1 organization.
SELECT m.id, m.email, m.name, s.role, s.since
FROM memberships s JOIN members m ON m.id = s.member_id
WHERE s.organization_id = $1 ORDER BY s.since, m.id;

-- name: join
-- No row: they are a member already. $1 organization, $2 member, $3 role.
INSERT INTO memberships (organization_id, member_id, role) VALUES ($1, $2, $3)
ON CONFLICT ON CONSTRAINT memberships_pk DO NOTHING
RETURNING since;

-- name: set_role
-- $1 organization, $2 member, $3 role.
UPDATE memberships SET role = $3 WHERE organization_id = $1 AND member_id = $2;

-- name: leave
-- $1 organization, $2 member.
DELETE FROM memberships WHERE organization_id = $1 AND member_id = $2;

-- name: owners
-- How many owners an organization has. $1 organization.
SELECT count(*) FROM memberships WHERE organization_id = $1 AND role = 'owner';
