-- Nonces of signed requests. A single event's is burnt by the statement that stores it (accept.accept_signed).

-- name: burn
-- Burn nonces, in one order for everybody; returns those that were not burnt before. $1 projects, $2 hashes, $3 when each
-- signature is over.
INSERT INTO signature_nonces (project_id, nonce_hash, expires_at)
SELECT * FROM unnest($1::integer[], $2::bytea[], $3::timestamptz[]) AS n (project_id, nonce_hash, expires_at)
ORDER BY project_id, nonce_hash
ON CONFLICT ON CONSTRAINT signature_nonces_pk DO NOTHING
RETURNING nonce_hash;

-- name: sweep
-- Forget nonces of any project whose signatures are over, leaving out those in use. $1 now, $2 limit.
DELETE FROM signature_nonces s USING (
    SELECT project_id, nonce_hash FROM signature_nonces
    WHERE expires_at < $1::timestamptz ORDER BY expires_at LIMIT $2::integer FOR UPDATE SKIP LOCKED) AS old
WHERE s.project_id = old.project_id AND s.nonce_hash = old.nonce_hash;
