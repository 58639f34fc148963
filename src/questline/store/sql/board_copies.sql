-- Copies of boards in Redis, as PostgreSQL knows them; see docs/decisions/0024-board-copies.md.

-- name: mark_users
-- Mark the copied boards on which locked users stand or stood. $1 projects, $2 users, $3 the writer's shard. A row for each
-- user and board: what was marked, and the writer's mark before and now.
WITH standing AS MATERIALIZED (
    SELECT p.project_id, p.id, p.copy, i.user_id
    FROM unnest($1::integer[], $2::bigint[]) AS i (project_id, user_id)
    JOIN board_periods p ON p.project_id = i.project_id AND p.copy IS NOT NULL
    WHERE EXISTS (SELECT FROM board_entries e
            WHERE e.project_id = p.project_id AND e.board_period = p.id AND e.user_id = i.user_id)
        OR EXISTS (SELECT FROM board_hidden h
            WHERE h.project_id = p.project_id AND h.board_period = p.id AND h.user_id = i.user_id)
), copied AS MATERIALIZED (
    SELECT s.project_id, s.id, s.copy, coalesce(m.stamp, 0) AS before, board_stamp() AS stamp
    FROM (SELECT DISTINCT project_id, id, copy FROM standing) AS s
    LEFT JOIN board_marks m ON m.project_id = s.project_id AND m.board_period = s.id AND m.shard = $3::smallint
), marked AS (
    INSERT INTO board_marks (project_id, board_period, shard, stamp)
    SELECT project_id, id, $3::smallint, stamp FROM copied ORDER BY 1, 2
    ON CONFLICT ON CONSTRAINT board_marks_pk DO UPDATE SET stamp = excluded.stamp
)
SELECT s.project_id, s.user_id, c.id, c.copy, c.before, c.stamp
FROM standing s JOIN copied c USING (project_id, id)
ORDER BY c.id, s.user_id

-- name: places
-- Where users stand now, NULL where they are not on the board. Arrays: project, board period, user.
SELECT i.board_period, i.user_id, board_place(e.lead, e.reached_at, e.user_id) AS place
FROM unnest($1::integer[], $2::integer[], $3::bigint[]) AS i (project_id, board_period, user_id)
LEFT JOIN board_entries e
    ON e.project_id = i.project_id AND e.board_period = i.board_period AND e.user_id = i.user_id

-- name: sight
-- What a reader has to know before it asks the copy of a board: the period's number, its copy (NULL: none), the marks of
-- its writers, and the user by the customer's id. No row: nobody is on the board. $1 project, $2 board, $3 period, $4 user.
SELECT p.id, p.copy, m.shards, m.stamps,
    (SELECT u.id FROM users u WHERE u.project_id = $1 AND u.external_id = $4::text) AS user_id
FROM board_periods p
CROSS JOIN LATERAL (
    SELECT array_agg(shard) AS shards, array_agg(stamp) AS stamps FROM board_marks
    WHERE project_id = p.project_id AND board_period = p.id) AS m
WHERE p.project_id = $1 AND p.board = $2 AND p.period = $3

-- name: confirm
-- What a reader has to know after it asked a copy: copy and marks as they are by now, and who the users are.
-- $1 project, $2 board period, $3 users.
SELECT p.copy, m.shards, m.stamps, n.ids, n.external_ids, n.display_names
FROM board_periods p
CROSS JOIN LATERAL (
    SELECT array_agg(shard) AS shards, array_agg(stamp) AS stamps FROM board_marks
    WHERE project_id = p.project_id AND board_period = p.id) AS m
CROSS JOIN LATERAL (
    SELECT array_agg(id) AS ids, array_agg(external_id) AS external_ids, array_agg(display_name) AS display_names
    FROM users WHERE project_id = $1 AND id = ANY($3::bigint[])) AS n
WHERE p.project_id = $1 AND p.id = $2

-- name: lead_alone
-- Be the one who looks after copies, until the session ends. $1 class of lock. False: somebody else is.
SELECT pg_try_advisory_lock($1::integer, 0)

-- name: copies
-- Every copy there is, with the marks of its writers. The projector looks after those of all projects in turn.
SELECT p.project_id, p.id, p.copy, m.shards, m.stamps
FROM board_periods p
CROSS JOIN LATERAL (
    SELECT array_agg(shard) AS shards, array_agg(stamp) AS stamps FROM board_marks
    WHERE project_id = p.project_id AND board_period = p.id) AS m
WHERE p.copy IS NOT NULL
ORDER BY p.project_id, p.id

-- name: sizes
-- How many entries board periods hold; those that are not there have no row. Arrays: project, board period.
SELECT p.project_id, p.id, coalesce(sum(c.entries), 0)::bigint AS entries
FROM unnest($1::integer[], $2::integer[]) AS i (project_id, board_period)
JOIN board_periods p ON p.project_id = i.project_id AND p.id = i.board_period
LEFT JOIN board_counts c ON c.project_id = p.project_id AND c.board_period = p.id
GROUP BY 1, 2
ORDER BY 1, 2

-- name: begin
-- Name a new copy; its writers mark their changes from the next one on. The caller holds the stripe alone. $4: now.
WITH forgotten AS (DELETE FROM board_marks WHERE project_id = $1 AND board_period = $2)
UPDATE board_periods SET copy = $3, copied_at = $4 WHERE project_id = $1 AND id = $2

-- name: page
-- The next entries to copy, by user. $1 project, $2 board period, $3 the last user copied, $4 limit.
SELECT user_id, board_place(lead, reached_at, user_id) AS place
FROM board_entries
WHERE project_id = $1 AND board_period = $2 AND user_id > $3
ORDER BY user_id
LIMIT $4::integer

-- name: looked_after
-- Note that copies were looked after. $1 projects, $2 board periods, $3 now.
UPDATE board_periods p SET copied_at = $3::timestamptz
FROM unnest($1::integer[], $2::integer[]) AS i (project_id, board_period)
WHERE p.project_id = i.project_id AND p.id = i.board_period AND p.copy IS NOT NULL

-- name: end
-- A board has no copy any more: $1 project, $2 board period. Nobody has to be kept out, because its name never comes back.
UPDATE board_periods SET copy = NULL, copied_at = NULL WHERE project_id = $1 AND id = $2

-- name: end_project
-- No board of the project's has a copy any more. $1 project.
UPDATE board_periods SET copy = NULL, copied_at = NULL WHERE project_id = $1 AND copy IS NOT NULL

-- name: end_forgotten
-- Copies that nobody looked after since $1 are copies no more, in all projects; else their writers would mark for ever.
UPDATE board_periods SET copy = NULL, copied_at = NULL WHERE copied_at < $1
