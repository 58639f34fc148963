-- name: accept
-- Store events, their dedupe keys and their places in the queue, in one statement. Keys must differ within a call; rows
-- come in the order of their ids, which is the order they are queued in. Keys are inserted in one order by all writers,
-- so that two never wait for each other in a circle. Returns one row: null where all are new, which is cheaper to send than
-- their ids, or else the ids that are; the keys of the others were there, or came from another transaction meanwhile. An
-- alias lets a new event be found by the customer's id too; where an alias is taken, whoever has it keeps it.
WITH i AS (
    SELECT * FROM unnest($1::uuid[], $2::integer[], $3::text[], $4::text[], $5::json[], $6::timestamptz[], $7::timestamptz[],
                         $8::text[], $9::text[], $10::text[], $11::text[], $12::text[], $13::text[], $14::bytea[], $15::bytea[],
                         $16::bytea[], $17::bigint[], $18::json[], $19::text[], $20::text[])
        AS i (id, project_id, type, external_user, payload, occurred_at, received_at, external_id, source, schema_version,
              spec_version, partition_key, correlation_id, key_hash, alias_hash, content_hash, user_hash, context,
              sent_with, traceparent)
), keyed AS (
    INSERT INTO dedupe_keys (project_id, key_hash, event_id, content_hash)
    SELECT project_id, key_hash, id, content_hash FROM i ORDER BY project_id, key_hash
    ON CONFLICT ON CONSTRAINT dedupe_keys_pk DO NOTHING
    RETURNING event_id
), aliased AS (
    INSERT INTO dedupe_keys (project_id, key_hash, event_id, content_hash)
    SELECT project_id, alias_hash, id, content_hash FROM i
    WHERE alias_hash IS NOT NULL AND id IN (SELECT event_id FROM keyed)
    ORDER BY project_id, alias_hash
    ON CONFLICT ON CONSTRAINT dedupe_keys_pk DO NOTHING
), stored AS (
    INSERT INTO events (id, project_id, type, external_user, payload, occurred_at, received_at, external_id, source,
                        schema_version, spec_version, partition_key, correlation_id, context, sent_with, traceparent)
    SELECT id, project_id, type, external_user, payload, occurred_at, received_at, external_id, source, schema_version,
           spec_version, partition_key, correlation_id, context, sent_with, traceparent
    FROM i WHERE id IN (SELECT event_id FROM keyed)
), queued AS (
    INSERT INTO outbox (partition, project_id, event_id, user_hash)
    SELECT (user_hash & 63)::smallint, project_id, id, user_hash FROM i WHERE id IN (SELECT event_id FROM keyed) ORDER BY id
    RETURNING event_id
)
SELECT CASE WHEN count(*) < cardinality($1::uuid[]) THEN coalesce(array_agg(event_id), '{}') END FROM queued;

-- name: accept_signed
-- As accept, and burn the nonces of signed requests in the same statement: an event whose nonce was burnt before is not
-- stored. Nonces come before keys for all writers. An event's $21 is null where it needs no nonce, or burnt one in an
-- earlier try. $22 projects, $23 hashes, $24 ends of the nonces. Returns the ids that are new, and the hashes now burnt.
WITH burnt AS (
    INSERT INTO signature_nonces (project_id, nonce_hash, expires_at)
    SELECT * FROM unnest($22::integer[], $23::bytea[], $24::timestamptz[]) AS n (project_id, nonce_hash, expires_at)
    ORDER BY project_id, nonce_hash
    ON CONFLICT ON CONSTRAINT signature_nonces_pk DO NOTHING
    RETURNING nonce_hash
), i AS (
    SELECT * FROM unnest($1::uuid[], $2::integer[], $3::text[], $4::text[], $5::json[], $6::timestamptz[], $7::timestamptz[],
                         $8::text[], $9::text[], $10::text[], $11::text[], $12::text[], $13::text[], $14::bytea[], $15::bytea[],
                         $16::bytea[], $17::bigint[], $18::json[], $19::text[], $20::text[], $21::bytea[])
        AS i (id, project_id, type, external_user, payload, occurred_at, received_at, external_id, source, schema_version,
              spec_version, partition_key, correlation_id, key_hash, alias_hash, content_hash, user_hash, context,
              sent_with, traceparent, nonce)
    WHERE nonce IS NULL OR nonce IN (SELECT nonce_hash FROM burnt)
), keyed AS (
    INSERT INTO dedupe_keys (project_id, key_hash, event_id, content_hash)
    SELECT project_id, key_hash, id, content_hash FROM i ORDER BY project_id, key_hash
    ON CONFLICT ON CONSTRAINT dedupe_keys_pk DO NOTHING
    RETURNING event_id
), aliased AS (
    INSERT INTO dedupe_keys (project_id, key_hash, event_id, content_hash)
    SELECT project_id, alias_hash, id, content_hash FROM i
    WHERE alias_hash IS NOT NULL AND id IN (SELECT event_id FROM keyed)
    ORDER BY project_id, alias_hash
    ON CONFLICT ON CONSTRAINT dedupe_keys_pk DO NOTHING
), stored AS (
    INSERT INTO events (id, project_id, type, external_user, payload, occurred_at, received_at, external_id, source,
                        schema_version, spec_version, partition_key, correlation_id, context, sent_with, traceparent)
    SELECT id, project_id, type, external_user, payload, occurred_at, received_at, external_id, source, schema_version,
           spec_version, partition_key, correlation_id, context, sent_with, traceparent
    FROM i WHERE id IN (SELECT event_id FROM keyed)
), queued AS (
    INSERT INTO outbox (partition, project_id, event_id, user_hash)
    SELECT (user_hash & 63)::smallint, project_id, id, user_hash FROM i WHERE id IN (SELECT event_id FROM keyed) ORDER BY id
    RETURNING event_id
)
SELECT event_id, NULL::bytea AS nonce_hash FROM queued UNION ALL SELECT NULL, nonce_hash FROM burnt;

-- name: alias
-- Let events be found by the customer's event id too. $1 projects, $2 alias hashes, $3 event ids, $4 content hashes.
INSERT INTO dedupe_keys (project_id, key_hash, event_id, content_hash)
SELECT * FROM unnest($1::integer[], $2::bytea[], $3::uuid[], $4::bytea[]) AS i (project_id, key_hash, event_id, content_hash)
ORDER BY project_id, key_hash
ON CONFLICT ON CONSTRAINT dedupe_keys_pk DO NOTHING;

-- name: originals
-- The events that hold these keys. $1 projects, $2 key hashes.
SELECT d.project_id, d.key_hash, d.event_id, d.content_hash
FROM unnest($1::integer[], $2::bytea[]) AS i (project_id, key_hash)
JOIN dedupe_keys d ON d.project_id = i.project_id AND d.key_hash = i.key_hash;

-- name: forget_intents
-- Free the keys of intents whose window is over. $1 projects, $2 key hashes, $3 the earliest ids still in the window.
-- Two writers that do this at once are safe: one of them deletes, and both then meet in the unique key.
DELETE FROM dedupe_keys d
USING unnest($1::integer[], $2::bytea[], $3::uuid[]) AS i (project_id, key_hash, earliest)
WHERE d.project_id = i.project_id AND d.key_hash = i.key_hash AND d.event_id < i.earliest;
