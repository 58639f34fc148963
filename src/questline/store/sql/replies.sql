-- Replies kept under idempotency keys, in the transaction of what the request changed. $1 is the project, 0 for none.

-- name: hold
-- Take the key until the transaction ends, or learn that another request has it. $1 project, $2 a 32-bit hash of the key.
SELECT pg_try_advisory_xact_lock($1::integer, $2::integer) AS of_project;

-- name: find
-- What the key's request was answered. $1 project, $2 key hash.
SELECT request_hash, status, headers, body FROM kept_replies WHERE project_id = $1 AND key_hash = $2;

-- name: keep
-- $1 project, $2 key hash, $3 request hash, $4 status, $5 headers, $6 body or null, $7 now.
INSERT INTO kept_replies (project_id, key_hash, request_hash, status, headers, body, kept_at)
VALUES ($1, $2, $3, $4, $5::json, $6, $7);

-- name: sweep
-- Forget replies of any project that have been kept long enough. $1 kept before, $2 limit.
DELETE FROM kept_replies r USING (
    SELECT project_id, key_hash FROM kept_replies
    WHERE kept_at < $1::timestamptz ORDER BY kept_at LIMIT $2::integer) AS old
WHERE r.project_id = old.project_id AND r.key_hash = old.key_hash;
