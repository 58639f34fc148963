-- Visitors who are not known yet: who they turned out to be, and the events that wait until then.

-- name: hold
-- Take these visitors for the transaction, so that none is named while an event of theirs is put to wait.
-- $1 hashes of project and visitor, in ascending order.
SELECT pg_advisory_xact_lock(h) FROM unnest($1::bigint[]) AS h;

-- name: link
-- Note who visitors are; the first who was named stays. $1 project, $2 anonymous ids, $3 customers' user ids, $4 now.
INSERT INTO anonymous_links (project_id, anonymous_id, external_user, linked_at)
SELECT $1::integer, anonymous_id, external_user, $4::timestamptz
FROM unnest($2::text[], $3::text[]) AS i (anonymous_id, external_user)
ORDER BY anonymous_id
ON CONFLICT ON CONSTRAINT anonymous_links_pk DO UPDATE SET external_user = EXCLUDED.external_user
WHERE anonymous_links.external_user IS NULL;

-- name: claim
-- Note whom a page says that visitors are, of whom nobody has said anything. As link.
INSERT INTO anonymous_links (project_id, anonymous_id, claimed_user, linked_at)
SELECT $1::integer, anonymous_id, claimed_user, $4::timestamptz
FROM unnest($2::text[], $3::text[]) AS i (anonymous_id, claimed_user)
ORDER BY anonymous_id
ON CONFLICT ON CONSTRAINT anonymous_links_pk DO NOTHING;

-- name: links
-- Who these visitors are, as far as anybody has said. $1 project, $2 anonymous ids.
SELECT anonymous_id, external_user, claimed_user FROM anonymous_links
WHERE project_id = $1 AND anonymous_id = ANY($2::text[]);

-- name: wait
-- Let events wait for their visitor's name; those whose key waits already are left out. $1 project.
INSERT INTO anonymous_events (project_id, anonymous_id, event_id, key_hash, content_hash, type, payload, occurred_at,
                              received_at, idempotency_key, correlation_id, context, sent_with)
SELECT $1::integer, i.* FROM unnest($2::text[], $3::uuid[], $4::bytea[], $5::bytea[], $6::text[], $7::json[], $8::timestamptz[],
                                    $9::timestamptz[], $10::text[], $11::text[], $12::json[], $13::text[]) AS i
ORDER BY 4
ON CONFLICT ON CONSTRAINT anonymous_events_wait_once DO NOTHING
RETURNING event_id;

-- name: waiting_as
-- The events that wait under these keys. $1 project, $2 key hashes.
SELECT key_hash, event_id, content_hash FROM anonymous_events WHERE project_id = $1 AND key_hash = ANY($2::bytea[]);

-- name: waiting_of
-- The first events that wait for these visitors' names, in the order of receipt. $1 project, $2 anonymous ids, $3 those of
-- them to whom what a server sent may go as well, $4 limit.
SELECT anonymous_id, event_id, key_hash, content_hash, type, payload, occurred_at, received_at, idempotency_key,
       correlation_id, context, sent_with
FROM anonymous_events WHERE project_id = $1 AND anonymous_id = ANY($2::text[])
    AND (sent_with IS NOT NULL OR anonymous_id = ANY($3::text[]))
ORDER BY event_id LIMIT $4::integer;

-- name: forget
-- These events wait no longer: they have been accepted. $1 project, $2 anonymous ids, $3 event ids.
DELETE FROM anonymous_events e USING unnest($2::text[], $3::uuid[]) AS i (anonymous_id, event_id)
WHERE e.project_id = $1 AND e.anonymous_id = i.anonymous_id AND e.event_id = i.event_id;
