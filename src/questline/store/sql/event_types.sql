-- Event types that came: added up now and then from what processes counted, read beside what the program says of them.

-- name: add
-- Add what was counted. Arrays, a column each: projects, types, first and last receipt, events, samples (ids with commas, the
-- newest first). $7: types listed of a project; one more is left out. $8: samples kept of a type.
WITH listed AS (
    SELECT project_id, count(*) AS types FROM event_types WHERE project_id = ANY($1::integer[]) GROUP BY project_id
)
INSERT INTO event_types AS t (project_id, type, first_seen_at, last_seen_at, events, samples)
SELECT i.project_id, i.type, i.first_at, i.last_at, i.events, string_to_array(i.samples, ',')::uuid[]
FROM unnest($1::integer[], $2::text[], $3::timestamptz[], $4::timestamptz[], $5::bigint[], $6::text[])
     AS i (project_id, type, first_at, last_at, events, samples)
LEFT JOIN listed l ON l.project_id = i.project_id
WHERE coalesce(l.types, 0) < $7::integer
    OR EXISTS (SELECT FROM event_types k WHERE k.project_id = i.project_id AND k.type = i.type)
ORDER BY i.project_id, i.type
ON CONFLICT ON CONSTRAINT event_types_pk DO UPDATE SET
    first_seen_at = least(t.first_seen_at, excluded.first_seen_at),
    last_seen_at = greatest(t.last_seen_at, excluded.last_seen_at),
    events = t.events + excluded.events,
    samples = (excluded.samples || t.samples)[1:$8::integer];

-- name: listed
-- Types after one, by name, with the latest sample; its payload only where it is short. $1 project, $2 after, $3 limit, $4 bytes.
SELECT t.type, t.first_seen_at, t.last_seen_at, t.events, e.id, e.schema_version, e.occurred_at,
       CASE WHEN octet_length(e.payload::text) <= $4::integer THEN e.payload END AS payload
FROM event_types t
LEFT JOIN events e ON e.project_id = t.project_id AND e.id = t.samples[1]
WHERE t.project_id = $1 AND t.type > $2 COLLATE "C"
ORDER BY t.type LIMIT $3::integer;

-- name: one
-- What is known of one type. $1 project, $2 type.
SELECT type, first_seen_at, last_seen_at, events FROM event_types WHERE project_id = $1 AND type = $2;

-- name: samples
-- Stored events of a type, the newest first; payloads only where they are short. $1 project, $2 type, $3 limit, $4 bytes,
-- $5 a schemaVersion, or null for any.
SELECT e.id, e.schema_version, e.occurred_at,
       CASE WHEN octet_length(e.payload::text) <= $4::integer THEN e.payload END AS payload
FROM event_types t
CROSS JOIN LATERAL unnest(t.samples) WITH ORDINALITY AS s (id, place)
JOIN events e ON e.project_id = t.project_id AND e.id = s.id
WHERE t.project_id = $1 AND t.type = $2 AND ($5::text IS NULL OR e.schema_version = $5)
ORDER BY s.place LIMIT $3::integer;
