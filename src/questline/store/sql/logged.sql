-- Events that come out of a log: stored with their keys by the worker that applies them, and queued only where they must wait.

-- name: store
-- As accept.accept, and without places in the queue. Returns the ids that are new.
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
)
INSERT INTO events (id, project_id, type, external_user, payload, occurred_at, received_at, external_id, source,
                    schema_version, spec_version, partition_key, correlation_id, context, sent_with, traceparent)
SELECT id, project_id, type, external_user, payload, occurred_at, received_at, external_id, source, schema_version,
       spec_version, partition_key, correlation_id, context, sent_with, traceparent
FROM i WHERE id IN (SELECT event_id FROM keyed)
RETURNING id;

-- name: keep
-- Store events without a key, which another event has. Those that are here already are left as they are. Arrays, a column
-- each, as of `store`, without the hashes. Returns the ids that are new.
INSERT INTO events (id, project_id, type, external_user, payload, occurred_at, received_at, external_id, source,
                    schema_version, spec_version, partition_key, correlation_id, context, sent_with, traceparent)
SELECT * FROM unnest($1::uuid[], $2::integer[], $3::text[], $4::text[], $5::json[], $6::timestamptz[], $7::timestamptz[],
                     $8::text[], $9::text[], $10::text[], $11::text[], $12::text[], $13::text[], $14::json[], $15::text[],
                     $16::text[])
ON CONFLICT ON CONSTRAINT events_pk DO NOTHING
RETURNING id;

-- name: queue
-- Queue stored events in the order given. $1 projects, $2 event ids, $3 user hashes.
INSERT INTO outbox (partition, project_id, event_id, user_hash)
SELECT (user_hash & 63)::smallint, project_id, event_id, user_hash
FROM unnest($1::integer[], $2::uuid[], $3::bigint[]) WITH ORDINALITY AS i (project_id, event_id, user_hash, place)
ORDER BY place;

-- name: queued_of
-- Those of these users for whom an event is in the queue. $1 projects, $2 user hashes.
SELECT i.project_id, i.user_hash FROM unnest($1::integer[], $2::bigint[]) AS i (project_id, user_hash)
WHERE EXISTS (SELECT FROM outbox o WHERE o.user_hash = i.user_hash AND o.project_id = i.project_id);
