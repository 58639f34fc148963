-- How far each partition of the log has been taken in, and what could not be.

-- name: open
-- Begin partitions that were never read. $1 topic, $2 partitions, $3 the topic's id.
INSERT INTO kafka_offsets (topic, partition, next_offset, topic_id) SELECT $1, p, 0, $3 FROM unnest($2::integer[]) AS p ORDER BY p
ON CONFLICT ON CONSTRAINT kafka_offsets_pk DO NOTHING;

-- name: other_id
-- The id of another topic whose offsets stand here under this name. $1 topic, $2 the topic's id.
SELECT topic_id FROM kafka_offsets WHERE topic = $1 AND topic_id <> $2 ORDER BY partition LIMIT 1;

-- name: identify
-- Note which topic the offsets are of, where nobody has yet. $1 topic, $2 the topic's id.
UPDATE kafka_offsets SET topic_id = $2 WHERE topic = $1 AND topic_id IS NULL;

-- name: read
-- Where to go on in these partitions. $1 topic, $2 partitions.
SELECT partition, next_offset FROM kafka_offsets WHERE topic = $1 AND partition = ANY($2::integer[]);

-- name: all
-- Where to go on in each partition. $1 topic.
SELECT partition, next_offset FROM kafka_offsets WHERE topic = $1;

-- name: advance
-- Go on in these partitions, each from where its reader believes it is; returns those that were there.
-- $1 topic, $2 partitions, $3 expected offsets, $4 new ones, $5 when the record before each new one was written.
UPDATE kafka_offsets o SET next_offset = i.next_offset, current_at = greatest(o.current_at, i.current_at)
FROM unnest($2::integer[], $3::bigint[], $4::bigint[], $5::timestamptz[]) AS i (partition, expected, next_offset, current_at)
WHERE o.topic = $1 AND o.partition = i.partition AND o.next_offset = i.expected
RETURNING o.partition;

-- name: note_current
-- Note that the log ended at these offsets. $1 topic, $2 partitions, $3 offsets, $4 when it was looked at.
UPDATE kafka_offsets o SET current_at = greatest(o.current_at, $4)
FROM unnest($2::integer[], $3::bigint[]) AS i (partition, next_offset)
WHERE o.topic = $1 AND o.partition = i.partition AND o.next_offset = i.next_offset;

-- name: waits_from_before
-- Whether a partition may hold a record, not taken in yet, that was written before a time; one that has no row was never read,
-- and may. $1 topic, $2 how many partitions it has, $3 the time.
SELECT count(*) < $2::integer FROM kafka_offsets WHERE topic = $1 AND partition < $2::integer AND current_at >= $3;

-- name: oldest
-- Since when what was written may wait; NULL where nobody knows. $1 topic.
SELECT min(current_at) FROM kafka_offsets WHERE topic = $1;

-- name: reject
-- Keep a record that cannot be an event. $1 topic, $2 partition, $3 offset, $4 key, $5 value, $6 why, $7 when.
INSERT INTO kafka_rejects (topic, partition, record_offset, record_key, record_value, message, rejected_at)
VALUES ($1, $2, $3, $4, $5, $6, $7)
ON CONFLICT ON CONSTRAINT kafka_rejects_pk DO NOTHING;

-- name: rejects
-- How many records were rejected. $1 topic.
SELECT count(*) FROM kafka_rejects WHERE topic = $1;
