-- name: accept
-- Store commands with their dedupe keys, without an outbox row: they are applied in this transaction.
-- Returns the event ids that are new; the keys of the others were there, or came from another transaction meanwhile.
WITH i AS (
    SELECT * FROM unnest($1::uuid[], $2::integer[], $3::text[], $4::text[], $5::text[], $6::timestamptz[], $7::timestamptz[],
                         $8::text[], $9::text[], $10::text[], $11::text[], $12::text[], $13::text[], $14::bytea[], $15::bytea[],
                         $16::json[], $17::text[], $18::text[])
        AS i (id, project_id, type, external_user, payload, occurred_at, received_at, external_id, source, schema_version,
              spec_version, partition_key, correlation_id, key_hash, content_hash, context, sent_with, traceparent)
), keyed AS (
    INSERT INTO dedupe_keys (project_id, key_hash, event_id, content_hash)
    SELECT project_id, key_hash, id, content_hash FROM i ORDER BY project_id, key_hash
    ON CONFLICT ON CONSTRAINT dedupe_keys_pk DO NOTHING
    RETURNING event_id
)
INSERT INTO events (id, project_id, type, external_user, payload, occurred_at, received_at, external_id, source,
                    schema_version, spec_version, partition_key, correlation_id, context, sent_with, traceparent)
SELECT id, project_id, type, external_user, payload::json, occurred_at, received_at, external_id, source, schema_version,
       spec_version, partition_key, correlation_id, context, sent_with, traceparent
FROM i JOIN keyed ON keyed.event_id = i.id
RETURNING id;

-- name: outcomes
-- How these events ended, as far as they have; one that was held and approved, as its approval did. Pruned: they did, and how
-- is not known any more. $1 projects, $2 event ids.
SELECT i.event_id, d.status, d.reason, d.program_version, d.trace, l.reason AS dead_reason, l.message AS dead_message,
       (SELECT json_agg(json_build_object('currency', t.currency, 'debit', t.debit, 'credit', t.credit,
                                          'amount', t.amount, 'rule', t.rule) ORDER BY t.ordinal)
        FROM transfers t WHERE t.project_id = d.project_id AND t.event_id = d.event_id) AS transfers,
       d.status IS NULL AND l.reason IS NULL
           AND NOT EXISTS (SELECT FROM events e WHERE e.project_id = i.project_id AND e.id = i.event_id) AS pruned
FROM unnest($1::integer[], $2::uuid[]) AS i (project_id, event_id)
LEFT JOIN reviews r ON r.project_id = i.project_id AND r.event_id = i.event_id AND r.status = 'approved'
LEFT JOIN decisions d ON d.project_id = i.project_id AND d.event_id = coalesce(r.decided_by, i.event_id)
LEFT JOIN dead_letters l ON l.project_id = i.project_id AND l.event_id = i.event_id;
