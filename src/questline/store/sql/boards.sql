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
-- Number the periods that have no number yet. Arrays: project, board, period.
INSERT INTO board_periods (project_id, board, period)
SELECT * FROM unnest($1::integer[], $2::text[], $3::text[]) ORDER BY 1, 2, 3
ON CONFLICT ON CONSTRAINT board_periods_are_unique DO NOTHING

-- name: lock_stripe
-- Wait for a stripe of boards until the transaction ends. $1 class of lock, $2 stripe.
SELECT pg_advisory_xact_lock($1::integer, $2::integer)

-- name: add_points
-- One row a (board period, user). The users are locked by the caller, so the rows read are the rows updated, and are
-- found again by their place in the table (ctid), which spares a descent of the index. $10: the periods among them, once
-- each. $11: what is added beyond the points, in billionths of a point; a whole one is carried into the score. Returns how many were written, and of the periods that have a copy: number, copy, and the writer's mark before and now.
WITH incoming AS MATERIALIZED (
    SELECT i.project_id, i.board_period, i.user_id, e.ctid AS found, e.lead AS old_lead, e.reached_at AS old_at,
        CASE
            WHEN e.lead IS NULL OR i.mode = 'set' THEN -i.points
            WHEN i.mode = 'add' THEN least(greatest(
                e.lead - i.points - (coalesce(e.rest, 0) + i.rest) / 1000000000, -$9::bigint), $9::bigint)
            ELSE least(e.lead, -i.points)
        END AS lead,
        CASE
            WHEN e.lead IS NULL OR i.mode = 'set' THEN i.at
            WHEN i.mode = 'add' THEN greatest(e.reached_at, i.at)
            WHEN i.points = -e.lead THEN least(e.reached_at, i.at)
            WHEN i.points > -e.lead THEN i.at
            ELSE e.reached_at
        END AS reached_at,
        nullif(CASE WHEN i.mode = 'add' THEN (coalesce(e.rest, 0) + i.rest) % 1000000000 ELSE i.rest END, 0) AS rest
    FROM unnest($1::integer[], $2::integer[], $3::bigint[], $4::text[], $5::bigint[], $6::timestamptz[], $11::integer[])
        AS i (project_id, board_period, user_id, mode, points, at, rest)
    LEFT JOIN board_entries e
        ON e.project_id = i.project_id AND e.board_period = i.board_period AND e.user_id = i.user_id
), updated AS (
    UPDATE board_entries e SET lead = i.lead, reached_at = i.reached_at, rest = i.rest
    FROM incoming i
    WHERE e.ctid = i.found
    RETURNING 1
), inserted AS (
    INSERT INTO board_entries (project_id, board_period, user_id, lead, reached_at, rest)
    SELECT project_id, board_period, user_id, lead, reached_at, rest FROM incoming WHERE found IS NULL
    RETURNING 1
), sides AS (
    SELECT project_id, board_period, board_bucket(-lead) AS bucket, lead, reached_at AS at, user_id, 1 AS delta
    FROM incoming
    UNION ALL
    SELECT project_id, board_period, board_bucket(-old_lead), old_lead, old_at, user_id, -1
    FROM incoming WHERE found IS NOT NULL
), split AS MATERIALIZED (
    SELECT project_id, board_period, bucket FROM board_parts
    WHERE board_period IN (SELECT DISTINCT unnest($2::integer[])) AND from_at = '-infinity'
), deltas AS (
    SELECT s.project_id, s.board_period, s.bucket,
        CASE WHEN p.bucket IS NULL THEN 0 ELSE (
            SELECT b.part FROM board_parts b
            WHERE b.project_id = s.project_id AND b.board_period = s.board_period AND b.bucket = s.bucket
                AND (b.from_lead, b.from_at, b.from_user) <= (s.lead, s.at, s.user_id)
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
    RETURNING project_id, board_period, bucket, part, entries
), crowded AS (
    INSERT INTO board_crowds (project_id, board_period, bucket, part)
    SELECT project_id, board_period, bucket, part FROM counted WHERE entries > $8::bigint ORDER BY 1, 2, 3, 4
    ON CONFLICT ON CONSTRAINT board_crowds_pk DO NOTHING
), copied AS MATERIALIZED (
    SELECT p.project_id, p.id, p.copy, coalesce(m.stamp, 0) AS before, board_stamp() AS stamp
    FROM board_periods p
    LEFT JOIN board_marks m ON m.project_id = p.project_id AND m.board_period = p.id AND m.shard = $7::smallint
    WHERE p.id = ANY($10::integer[]) AND p.copy IS NOT NULL
), marked AS (
    INSERT INTO board_marks (project_id, board_period, shard, stamp)
    SELECT project_id, id, $7::smallint, stamp FROM copied ORDER BY 1, 2
    ON CONFLICT ON CONSTRAINT board_marks_pk DO UPDATE SET stamp = excluded.stamp
)
SELECT (SELECT count(*) FROM updated) + (SELECT count(*) FROM inserted),
    array_agg(id), array_agg(copy), array_agg(before), array_agg(stamp)
FROM copied

-- name: crowds
-- Ranges that writers reported as crowded. $1 limit.
SELECT project_id, board_period, bucket, part FROM board_crowds ORDER BY 1, 2, 3, 4 LIMIT $1::integer

-- name: drop_crowd
-- Forget a report that was looked at.
DELETE FROM board_crowds WHERE project_id = $1 AND board_period = $2 AND bucket = $3 AND part = $4

-- name: split_part
-- Splits one part of a bucket (0: the whole bucket) into parts of $5 entries; the first keeps the beginning. The caller
-- holds the stripe alone. Nothing happens to a part that is no longer there or no longer large.
WITH own AS (
    SELECT coalesce(b.from_lead, greatest(1 - board_bucket_floor($3::integer + 1), -9223372036854775807)::bigint) AS from_lead,
        coalesce(b.from_at, '-infinity') AS from_at, coalesce(b.from_user, 0) AS from_user,
        greatest(1 - board_bucket_floor($3::integer + 1), -9223372036854775807)::bigint AS low,
        least(-board_bucket_floor($3::integer), 9223372036854775807)::bigint AS high,
        (SELECT sum(entries)::bigint FROM board_counts WHERE project_id = $1::integer AND board_period = $2::integer
            AND bucket = $3::integer AND part = $4::integer) AS entries
    FROM (SELECT) AS one
    LEFT JOIN board_parts b ON b.project_id = $1::integer AND b.board_period = $2::integer AND b.bucket = $3::integer
        AND b.part = $4::integer
    WHERE (b.part IS NOT NULL OR $4::integer = 0) AND NOT ($4::integer = 0 AND EXISTS (
        SELECT FROM board_parts p WHERE p.project_id = $1::integer AND p.board_period = $2::integer AND p.bucket = $3::integer))
), inside AS MATERIALIZED (
    SELECT e.lead, e.reached_at, e.user_id, row_number() OVER (ORDER BY e.lead, e.reached_at, e.user_id) - 1 AS place
    FROM own CROSS JOIN LATERAL (
        SELECT lead, reached_at, user_id FROM board_entries
        WHERE project_id = $1::integer AND board_period = $2::integer
            AND (lead, reached_at, user_id) >= (greatest(own.from_lead, own.low), own.from_at, own.from_user)
            AND lead <= own.high
        ORDER BY lead, reached_at, user_id LIMIT own.entries) AS e
), large AS (
    SELECT FROM inside HAVING count(*) > 2 * $5::integer
), named AS (
    SELECT coalesce(max(part), 0) AS last FROM board_parts
    WHERE project_id = $1::integer AND board_period = $2::integer AND bucket = $3::integer
), pieces AS (
    SELECT place / $5::integer AS piece, count(*) AS entries,
        CASE WHEN $4::integer > 0 AND place / $5::integer = 0 THEN $4::integer
             ELSE named.last + (place / $5::integer)::integer + CASE WHEN $4::integer = 0 THEN 1 ELSE 0 END END AS part
    FROM inside, large, named GROUP BY 1, named.last
), begun AS (
    INSERT INTO board_parts (project_id, board_period, bucket, part, from_lead, from_at, from_user)
    SELECT $1::integer, $2::integer, $3::integer, p.part,
        CASE WHEN p.piece = 0 THEN -9223372036854775807 ELSE i.lead END,
        CASE WHEN p.piece = 0 THEN '-infinity' ELSE i.reached_at END,
        CASE WHEN p.piece = 0 THEN 0 ELSE i.user_id END
    FROM pieces p JOIN inside i ON i.place = p.piece * $5::integer
    WHERE p.piece > 0 OR $4::integer = 0
), emptied AS (
    UPDATE board_counts SET entries = 0 FROM large
    WHERE project_id = $1::integer AND board_period = $2::integer AND bucket = $3::integer AND part = $4::integer AND shard <> 0
)
INSERT INTO board_counts (project_id, board_period, bucket, part, shard, entries)
SELECT $1::integer, $2::integer, $3::integer, part, 0, entries FROM pieces
UNION ALL
SELECT $1::integer, $2::integer, $3::integer, 0, 0, 0 FROM large WHERE $4::integer = 0
ON CONFLICT ON CONSTRAINT board_counts_pk DO UPDATE SET entries = excluded.entries

-- name: find_periods
-- The numbers of one board's period in each of the projects; projects without entries in it have no row.
SELECT project_id, id FROM board_periods WHERE project_id = ANY($1::integer[]) AND board = $2 AND period = $3
ORDER BY project_id

-- name: page_after
-- The entries after a place (NULL: from the top), of one or more board periods side by side. On the first row stand how
-- many entries are `before` it, and how many lie `above` its score as the tie policy counts them. The limit is written
-- out as well as passed, because a plan for any limit is a plan for a large one.
WITH source AS MATERIALIZED (
    SELECT * FROM unnest($1::integer[], $2::integer[]) AS s (project_id, board_period)
), page AS MATERIALIZED (
    SELECT s.project_id, e.user_id, e.lead, e.reached_at,
        row_number() OVER (ORDER BY e.lead, e.reached_at, e.user_id) AS line
    FROM source s CROSS JOIN LATERAL (
        SELECT user_id, lead, reached_at FROM board_entries b
        WHERE b.project_id = s.project_id AND b.board_period = s.board_period
            AND (b.lead, b.reached_at, b.user_id) > (coalesce($4::bigint, -9223372036854775808),
                coalesce($5::timestamptz, '-infinity'), coalesce($6::bigint, 0))
        ORDER BY b.lead, b.reached_at, b.user_id LIMIT 250) AS e
    ORDER BY e.lead, e.reached_at, e.user_id LIMIT 250
)
SELECT p.project_id, p.user_id, u.external_id, u.display_name, -p.lead AS score, p.reached_at,
    CASE WHEN p.line > 1 THEN NULL WHEN $4::bigint IS NULL THEN 0 ELSE (
        SELECT sum(board_before(s.project_id, s.board_period, p.lead, p.reached_at, p.user_id)) FROM source s) END AS before,
    CASE WHEN p.line > 1 THEN NULL WHEN $4::bigint IS NULL OR $3::text = 'first' THEN 0
        WHEN $3::text = 'competition' THEN (
            SELECT sum(board_before(s.project_id, s.board_period, p.lead, '-infinity', 0)) FROM source s)
        WHEN cardinality($1::integer[]) = 1 THEN board_scores_above(($1::integer[])[1], ($2::integer[])[1], p.lead)
        ELSE (SELECT count(DISTINCT e.lead) FROM source s JOIN board_entries e USING (project_id, board_period)
            WHERE e.lead < p.lead) END AS above
FROM page p
LEFT JOIN users u ON u.project_id = p.project_id AND u.id = p.user_id
WHERE p.line <= $7::integer
ORDER BY p.line

-- name: page_around
-- One user's entry with $6 neighbours on each side, in the form of page_after. No row: the user has no entry.
WITH source AS MATERIALIZED (
    SELECT * FROM unnest($1::integer[], $2::integer[]) AS s (project_id, board_period)
), own AS MATERIALIZED (
    SELECT e.project_id, e.user_id, e.lead, e.reached_at
    FROM users u JOIN source s USING (project_id)
    JOIN board_entries e ON e.project_id = s.project_id AND e.board_period = s.board_period AND e.user_id = u.id
    WHERE u.project_id = $4::integer AND u.external_id = $5::text
), page AS MATERIALIZED (
    SELECT near.*, row_number() OVER (ORDER BY lead, reached_at, user_id) AS line
    FROM (
        (SELECT s.project_id, e.user_id, e.lead, e.reached_at
        FROM own CROSS JOIN source s CROSS JOIN LATERAL (
            SELECT user_id, lead, reached_at FROM board_entries b
            WHERE b.project_id = s.project_id AND b.board_period = s.board_period
                AND (b.lead, b.reached_at, b.user_id) < (own.lead, own.reached_at, own.user_id)
            ORDER BY b.lead DESC, b.reached_at DESC, b.user_id DESC LIMIT 250) AS e
        ORDER BY e.lead DESC, e.reached_at DESC, e.user_id DESC LIMIT $6::integer)
        UNION ALL
        SELECT project_id, user_id, lead, reached_at FROM own
        UNION ALL
        (SELECT s.project_id, e.user_id, e.lead, e.reached_at
        FROM own CROSS JOIN source s CROSS JOIN LATERAL (
            SELECT user_id, lead, reached_at FROM board_entries b
            WHERE b.project_id = s.project_id AND b.board_period = s.board_period
                AND (b.lead, b.reached_at, b.user_id) > (own.lead, own.reached_at, own.user_id)
            ORDER BY b.lead, b.reached_at, b.user_id LIMIT 250) AS e
        ORDER BY e.lead, e.reached_at, e.user_id LIMIT $6::integer)
    ) AS near
)
SELECT p.project_id, p.user_id, u.external_id, u.display_name, -p.lead AS score, p.reached_at,
    CASE WHEN p.line > 1 THEN NULL ELSE (
        SELECT sum(board_before(s.project_id, s.board_period, p.lead, p.reached_at, p.user_id)) FROM source s) END AS before,
    CASE WHEN p.line > 1 THEN NULL WHEN $3::text = 'first' THEN 0
        WHEN $3::text = 'competition' THEN (
            SELECT sum(board_before(s.project_id, s.board_period, p.lead, '-infinity', 0)) FROM source s)
        WHEN cardinality($1::integer[]) = 1 THEN board_scores_above(($1::integer[])[1], ($2::integer[])[1], p.lead)
        ELSE (SELECT count(DISTINCT e.lead) FROM source s JOIN board_entries e USING (project_id, board_period)
            WHERE e.lead < p.lead) END AS above
FROM page p
LEFT JOIN users u ON u.project_id = p.project_id AND u.id = p.user_id
ORDER BY p.line

-- name: total
-- How many entries the board periods hold together.
SELECT coalesce(sum(c.entries), 0)::bigint
FROM unnest($1::integer[], $2::integer[]) AS s (project_id, board_period)
JOIN board_counts c USING (project_id, board_period)

-- name: global_projects
-- The projects of an organization whose program in force opts this board in; with their names outside.
SELECT p.id, p.app_id
FROM projects p
JOIN program_versions v ON v.project_id = p.id AND v.version = p.program_version
WHERE p.organization_id = $1 AND v.document #>> ARRAY['boards', $2::text, 'scope'] = 'GLOBAL'
ORDER BY p.id
