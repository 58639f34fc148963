-- End users who log in here.

-- name: ensure
-- Create a user; no row: there is one. $1 project, $2 the customer's id.
INSERT INTO users (project_id, external_id) VALUES ($1, $2)
ON CONFLICT ON CONSTRAINT users_external_id_is_unique DO NOTHING
RETURNING id;

-- name: id
-- $1 project, $2 the customer's id.
SELECT id FROM users WHERE project_id = $1 AND external_id = $2;

-- name: add_credential
-- No row: the login is taken. $1 project, $2 login, $3 user, $4 hash, $5 the login as typed.
INSERT INTO credentials (project_id, login, user_id, password_hash, registered_as) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT ON CONSTRAINT credentials_pk DO NOTHING
RETURNING user_id;

-- name: credential
-- $1 project, $2 login.
SELECT c.user_id, u.external_id, c.login, c.password_hash, c.registered_as
FROM credentials c JOIN users u ON u.project_id = c.project_id AND u.id = c.user_id
WHERE c.project_id = $1 AND c.login = $2;

-- name: credential_of
-- A user with their login, nulls where they have none. $1 project, $2 the customer's id.
SELECT u.id AS user_id, u.external_id, c.login, c.password_hash, c.registered_as
FROM users u LEFT JOIN credentials c ON c.project_id = u.project_id AND c.user_id = u.id
WHERE u.project_id = $1 AND u.external_id = $2;

-- name: set_password
-- No row: the user has no login, or another password by now. $1 project, $2 user, $3 hash, $4 the hash now, or null: whatever it is.
UPDATE credentials SET password_hash = $3
WHERE project_id = $1 AND user_id = $2 AND ($4::text IS NULL OR password_hash = $4)
RETURNING user_id;

-- name: begin_session
-- No row: the user has another password by now, than the one by which the caller was let in; its row is locked, so that who
-- changes it sees this session and ends it. $1 project, $2 id, $3 user, $4 now, $5 end, $6 hash of that password.
INSERT INTO user_sessions (project_id, id, user_id, created_at, expires_at)
SELECT c.project_id, $2::uuid, c.user_id, $4::timestamptz, $5::timestamptz FROM credentials c
WHERE c.project_id = $1 AND c.user_id = $3 AND c.password_hash = $6 FOR SHARE
RETURNING id;

-- name: continue_session
-- Take the next generation of a session that lives. No row: it is over, or its token was used before. $1 project, $2 id,
-- $3 the token's generation, $4 now, $5 the new end.
UPDATE user_sessions s SET generation = s.generation + 1, expires_at = $5
FROM users u
WHERE s.project_id = $1 AND s.id = $2 AND s.generation = $3 AND s.ended_at IS NULL AND s.expires_at > $4
    AND u.project_id = s.project_id AND u.id = s.user_id
RETURNING u.external_id;

-- name: end_session
-- $1 project, $2 id, $3 now. Ending twice keeps the first time.
UPDATE user_sessions SET ended_at = coalesce(ended_at, $3) WHERE project_id = $1 AND id = $2;

-- name: end_sessions
-- All of a user's that live, but one. $1 project, $2 user, $3 now, $4 the session that goes on, or null.
UPDATE user_sessions SET ended_at = $3
WHERE project_id = $1 AND user_id = $2 AND ended_at IS NULL AND expires_at > $3 AND ($4::uuid IS NULL OR id <> $4);

-- name: app_id
-- $1 project.
SELECT p.app_id FROM projects p JOIN organizations o ON o.id = p.organization_id
WHERE p.id = $1 /* project */ AND p.archived_at IS NULL AND o.archived_at IS NULL;

-- name: sweep
-- Forget sessions of any project that are over, leaving out those in use. $1 now, $2 limit.
DELETE FROM user_sessions s USING (
    SELECT project_id, id FROM user_sessions
    WHERE expires_at < $1::timestamptz ORDER BY expires_at LIMIT $2::integer FOR UPDATE SKIP LOCKED) AS old
WHERE s.project_id = old.project_id AND s.id = old.id;
