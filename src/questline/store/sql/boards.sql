-- name: claim_shard
-- The lowest free shard, now held by this session. No row: none is free.
SELECT shard FROM generate_series(0, $2::integer - 1) AS shard
WHERE pg_try_advisory_lock($1::integer, shard)
LIMIT 1

-- name: resolve_periods
-- The numbers of board periods, in the order asked, NULL where there is none yet. Takes the shared lock of each stripe,
-- which a split or a rebuild holds alone: what the next statement reads stays put until the transaction ends.
SELECT p.id, (SELECT count(pg_advisory_xact_lock_shared($1::integer, stripe)) FROM unnest($2::integer[]) AS stripe)
FROM unnest($3::integer[], $4::text[], $5::text[]) WITH ORDINALITY AS k (project_id, board, period, place)
LEFT JOIN board_periods p USING (project_id, board, period)
ORDER BY k.place

-- name: insert_periods
INSERT INTO board_periods (project_id, board, period)
SELECT * FROM unnest($1::integer[], $2::text[], $3::text[]) ORDER BY 1, 2, 3
ON CONFLICT ON CONSTRAINT board_periods_are_unique DO NOTHING

-- name: lock_stripe
SELECT pg_advisory_xact_lock($1::integer, $2::integer)

-- name: add_points
-- One row a (board period, user). The users are locked by the caller, so the rows read are the rows updated, and are
-- found again by their place in the table (ctid), which spares a descent of the index. Returns how many were written.
WITH incoming AS MATERIALIZED (
    SELECT i.project_id, i.board_period, i.user_id, e.ctid AS place, e.score AS old_score, e.reached_at AS old_at,
        CASE
            WHEN e.score IS NULL OR i.mode = 'set' THEN i.points
            WHEN i.mode = 'add' THEN e.score + i.points
            ELSE greatest(e.score, i.points)
        END AS score,
        CASE
            WHEN e.score IS NULL THEN i.at
            WHEN i.mode = 'add' THEN greatest(e.reached_at, i.at)
            WHEN i.points = e.score THEN least(e.reached_at, i.at)
            WHEN i.mode = 'set' OR i.points > e.score THEN i.at
            ELSE e.reached_at
        END AS reached_at
    FROM unnest($1::integer[], $2::integer[], $3::bigint[], $4::text[], $5::bigint[], $6::timestamptz[])
        AS i (project_id, board_period, user_id, mode, points, at)
    LEFT JOIN board_entries e
        ON e.project_id = i.project_id AND e.board_period = i.board_period AND e.user_id = i.user_id
), updated AS (
    UPDATE board_entries e SET score = i.score, reached_at = i.reached_at
    FROM incoming i
    WHERE e.ctid = i.place
    RETURNING 1
), inserted AS (
    INSERT INTO board_entries (project_id, board_period, user_id, score, reached_at)
    SELECT project_id, board_period, user_id, score, reached_at FROM incoming WHERE place IS NULL
    RETURNING 1
), sides AS (
    SELECT project_id, board_period, board_bucket(score) AS bucket, score, reached_at AS at, user_id, 1 AS delta
    FROM incoming
    UNION ALL
    SELECT project_id, board_period, board_bucket(old_score), old_score, old_at, user_id, -1
    FROM incoming WHERE place IS NOT NULL
), split AS MATERIALIZED (
    SELECT project_id, board_period, bucket FROM board_parts
    WHERE board_period IN (SELECT DISTINCT unnest($2::integer[])) AND part = 1
), deltas AS (
    SELECT s.project_id, s.board_period, s.bucket,
        CASE WHEN p.bucket IS NULL THEN 0 ELSE (
            SELECT b.part FROM board_parts b
            WHERE b.project_id = s.project_id AND b.board_period = s.board_period AND b.bucket = s.bucket
                AND (b.from_lead, b.from_at, b.from_user) <= (-s.score, s.at, s.user_id)
            ORDER BY b.from_lead DESC, b.from_at DESC, b.from_user DESC LIMIT 1
        ) END AS part,
        sum(s.delta) AS delta
    FROM sides s
    LEFT JOIN split p ON p.project_id = s.project_id AND p.board_period = s.board_period AND p.bucket = s.bucket
    GROUP BY 1, 2, 3, 4
    HAVING sum(s.delta) <> 0
), counted AS (
    INSERT INTO board_counts AS c (project_id, board_period, bucket, part, shard, entries)
    SELECT project_id, board_period, bucket, part, $7::smallint, delta FROM deltas ORDER BY 1, 2, 3, 4
    ON CONFLICT ON CONSTRAINT board_counts_pk DO UPDATE SET entries = c.entries + excluded.entries
    RETURNING project_id, board_period, bucket, entries
), crowded AS (
    INSERT INTO board_crowds (project_id, board_period, bucket)
    SELECT DISTINCT project_id, board_period, bucket FROM counted WHERE entries > $8::bigint ORDER BY 1, 2, 3
    ON CONFLICT ON CONSTRAINT board_crowds_pk DO NOTHING
)
SELECT (SELECT count(*) FROM updated) + (SELECT count(*) FROM inserted)
