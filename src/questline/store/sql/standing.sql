-- The standing of blocked users: their entries, taken off the boards with their counts, and put back as they were.

-- name: lock_stripes
-- Keep splits and rebuilds of these projects' boards out until the transaction ends. $1 class of lock, $2 stripes.
SELECT count(pg_advisory_xact_lock_shared($1::integer, stripe)) FROM unnest($2::integer[]) AS stripe;

-- name: hidden
-- Which of these users are off the boards. $1 projects, $2 users.
SELECT b.project_id, b.user_id
FROM unnest($1::integer[], $2::bigint[]) AS i (project_id, user_id)
JOIN blocks b ON b.project_id = i.project_id AND b.user_id = i.user_id AND b.hidden;

-- name: remove
-- Move all entries of locked users from the boards. $1 projects, $2 users, $3 the writer's shard.
WITH moved AS (
    DELETE FROM board_entries e
    USING unnest($1::integer[], $2::bigint[]) AS i (project_id, user_id), board_periods p
    WHERE p.project_id = i.project_id AND e.project_id = p.project_id AND e.board_period = p.id AND e.user_id = i.user_id
    RETURNING e.project_id, e.board_period, e.user_id, e.lead, e.reached_at, e.rest
), kept AS (
    INSERT INTO board_hidden (project_id, board_period, user_id, lead, reached_at, rest)
    SELECT project_id, board_period, user_id, lead, reached_at, rest FROM moved
), placed AS (
    SELECT m.project_id, m.board_period, board_bucket(-m.lead) AS bucket, coalesce((
        SELECT b.part FROM board_parts b
        WHERE b.project_id = m.project_id AND b.board_period = m.board_period AND b.bucket = board_bucket(-m.lead)
            AND (b.from_lead, b.from_at, b.from_user) <= (m.lead, m.reached_at, m.user_id)
        ORDER BY b.from_lead DESC, b.from_at DESC, b.from_user DESC LIMIT 1), 0) AS part
    FROM moved m
)
INSERT INTO board_counts AS c (project_id, board_period, bucket, part, shard, entries)
SELECT project_id, board_period, bucket, part, $3::smallint, -count(*) FROM placed GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4
ON CONFLICT ON CONSTRAINT board_counts_pk DO UPDATE SET entries = c.entries + excluded.entries;

-- name: restore
-- Move all entries of locked users back to the boards. $1 projects, $2 users, $3 the writer's shard.
WITH moved AS (
    DELETE FROM board_hidden h
    USING unnest($1::integer[], $2::bigint[]) AS i (project_id, user_id)
    WHERE h.project_id = i.project_id AND h.user_id = i.user_id
    RETURNING h.project_id, h.board_period, h.user_id, h.lead, h.reached_at, h.rest
), entered AS (
    INSERT INTO board_entries (project_id, board_period, user_id, lead, reached_at, rest)
    SELECT project_id, board_period, user_id, lead, reached_at, rest FROM moved
), placed AS (
    SELECT m.project_id, m.board_period, board_bucket(-m.lead) AS bucket, coalesce((
        SELECT b.part FROM board_parts b
        WHERE b.project_id = m.project_id AND b.board_period = m.board_period AND b.bucket = board_bucket(-m.lead)
            AND (b.from_lead, b.from_at, b.from_user) <= (m.lead, m.reached_at, m.user_id)
        ORDER BY b.from_lead DESC, b.from_at DESC, b.from_user DESC LIMIT 1), 0) AS part
    FROM moved m
)
INSERT INTO board_counts AS c (project_id, board_period, bucket, part, shard, entries)
SELECT project_id, board_period, bucket, part, $3::smallint, count(*) FROM placed GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4
ON CONFLICT ON CONSTRAINT board_counts_pk DO UPDATE SET entries = c.entries + excluded.entries;
