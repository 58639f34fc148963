-- The truth of a project's boards, gathered from ledger and events into temporary tables, and put in place of what is
-- there. All within one transaction, which holds the project's stripe alone (boards.sql: lock_stripe).

-- name: open
-- The rows gathered, before they are added up.
CREATE TEMPORARY TABLE board_gathered (
    board text COLLATE "C", period text COLLATE "C", user_id bigint, points bigint, reached_at timestamptz, rest bigint
) ON COMMIT DROP

-- name: earned
-- What was issued to users of the project, in any order, less what replays took back.
SELECT user_id, currency, CASE WHEN debit = 'issuance' THEN amount ELSE -amount END AS amount, at FROM transfers
WHERE project_id = $1 AND currency = ANY($2::text[])
    AND (debit = 'issuance' AND credit = 'user' OR credit = 'issuance' AND rule LIKE 'compensation:%')

-- name: users_after
-- The next users by their outside id; '' begins.
SELECT id, external_id FROM users WHERE project_id = $1 AND external_id > $2 ORDER BY external_id LIMIT $3::integer

-- name: applied_events
-- The events that were applied to the users, each user's in the order of receipt. What a backfill counted is left out: under
-- a program that has always been in force its events count by themselves.
SELECT d.user_id, e.id, e.type, e.external_user, e.payload, e.occurred_at, e.source, e.schema_version, e.context,
    e.sent_with
FROM decisions d JOIN events e ON e.project_id = d.project_id AND e.id = d.event_id
WHERE d.project_id = $1 AND d.user_id = ANY($2::bigint[]) AND d.status = 'processed' AND e.type <> '$backfill'
ORDER BY d.user_id, d.event_id

-- name: settle
-- One row an entry, as it should be, its score within what a score holds.
CREATE TEMPORARY TABLE board_truth ON COMMIT DROP AS
SELECT board, period, user_id,
    (-least(greatest(sum(points) + div(sum(rest), 1000000000), -4611686018427387904), 4611686018427387904))::bigint AS lead,
    max(reached_at) AS reached_at, nullif(mod(sum(rest), 1000000000), 0)::integer AS rest
FROM board_gathered GROUP BY board, period, user_id

-- name: analyze
-- So that what follows is planned for its size.
ANALYZE board_truth

-- name: insert_periods
-- Number the periods that have no number yet. $1 project.
INSERT INTO board_periods (project_id, board, period)
SELECT DISTINCT $1::integer, board, period FROM board_truth ORDER BY 2, 3
ON CONFLICT ON CONSTRAINT board_periods_are_unique DO NOTHING

-- name: delete_surplus
-- Entries that the truth does not have. $1 project, $2 boards.
DELETE FROM board_entries e USING board_periods p
WHERE p.project_id = $1 AND p.board = ANY($2::text[]) AND e.project_id = p.project_id AND e.board_period = p.id
    AND NOT EXISTS (
        SELECT FROM board_truth t WHERE t.board = p.board AND t.period = p.period AND t.user_id = e.user_id)

-- name: update_wrong
-- Entries that the truth has with another score, time or rest. $1 project.
UPDATE board_entries e SET lead = t.lead, reached_at = t.reached_at, rest = t.rest
FROM board_truth t JOIN board_periods p ON p.project_id = $1 AND p.board = t.board AND p.period = t.period
WHERE e.project_id = p.project_id AND e.board_period = p.id AND e.user_id = t.user_id
    AND (e.lead, e.reached_at, e.rest) IS DISTINCT FROM (t.lead, t.reached_at, t.rest)

-- name: insert_missing
-- Entries that only the truth has. $1 project.
INSERT INTO board_entries (project_id, board_period, user_id, lead, reached_at, rest)
SELECT p.project_id, p.id, t.user_id, t.lead, t.reached_at, t.rest
FROM board_truth t JOIN board_periods p ON p.project_id = $1 AND p.board = t.board AND p.period = t.period
ON CONFLICT ON CONSTRAINT board_entries_pk DO NOTHING

-- name: show_hidden
-- Put the entries of blocked users beside the others, to be compared and mended with them. $1 project.
WITH back AS (
    DELETE FROM board_hidden WHERE project_id = $1 RETURNING project_id, board_period, user_id, lead, reached_at, rest
)
INSERT INTO board_entries (project_id, board_period, user_id, lead, reached_at, rest)
SELECT project_id, board_period, user_id, lead, reached_at, rest FROM back
ON CONFLICT ON CONSTRAINT board_entries_pk DO NOTHING

-- name: hide_again
-- Take the entries of blocked users whose standing is removed off the boards again. $1 project.
WITH moved AS (
    DELETE FROM board_entries e USING blocks b, board_periods p
    WHERE b.project_id = $1 AND b.hidden AND p.project_id = $1
        AND e.project_id = p.project_id AND e.board_period = p.id AND e.user_id = b.user_id
    RETURNING e.project_id, e.board_period, e.user_id, e.lead, e.reached_at, e.rest
)
INSERT INTO board_hidden (project_id, board_period, user_id, lead, reached_at, rest)
SELECT project_id, board_period, user_id, lead, reached_at, rest FROM moved

-- name: delete_parts
-- Ranges begin whole again; insert_counts reports the crowded ones. $1 project, $2 boards.
DELETE FROM board_parts b USING board_periods p
WHERE p.project_id = $1 AND p.board = ANY($2::text[]) AND b.project_id = p.project_id AND b.board_period = p.id

-- name: delete_crowds
-- Reports of crowded ranges are about ranges of before. $1 project, $2 boards.
DELETE FROM board_crowds b USING board_periods p
WHERE p.project_id = $1 AND p.board = ANY($2::text[]) AND b.project_id = p.project_id AND b.board_period = p.id

-- name: delete_counts
-- Counts, which insert_counts counts anew. $1 project, $2 boards.
DELETE FROM board_counts b USING board_periods p
WHERE p.project_id = $1 AND p.board = ANY($2::text[]) AND b.project_id = p.project_id AND b.board_period = p.id

-- name: insert_counts
-- $3: how many entries make a range crowded.
WITH counted AS (
    INSERT INTO board_counts (project_id, board_period, bucket, part, shard, entries)
    SELECT e.project_id, e.board_period, board_bucket(-e.lead), 0, 0, count(*)
    FROM board_periods p JOIN board_entries e ON e.project_id = p.project_id AND e.board_period = p.id
    WHERE p.project_id = $1 AND p.board = ANY($2::text[])
    GROUP BY 1, 2, 3
    RETURNING project_id, board_period, bucket, part, entries
)
INSERT INTO board_crowds (project_id, board_period, bucket, part)
SELECT project_id, board_period, bucket, part FROM counted WHERE entries > $3::bigint

-- name: periods
-- The periods that boards have entries of, as (number, board, period). $1 project, $2 boards.
SELECT id, board, period FROM board_periods WHERE project_id = $1 AND board = ANY($2::text[])

-- name: wrong_entries
-- Entries that differ from the truth, as (board, period, user, score, time and rest it should be, then those it has, and what
-- the customer calls the user). $1 project, $2 boards, $3 limit, $4 periods that nobody can read.
SELECT coalesce(t.board, f.board), coalesce(t.period, f.period), coalesce(t.user_id, f.user_id),
    -t.lead, t.reached_at, t.rest, -f.lead, f.reached_at, f.rest,
    (SELECT u.external_id FROM users u WHERE u.project_id = $1 AND u.id = coalesce(t.user_id, f.user_id))
FROM board_truth t FULL JOIN (
    SELECT p.board, p.period, e.user_id, e.lead, e.reached_at, e.rest
    FROM board_periods p JOIN board_entries e ON e.project_id = p.project_id AND e.board_period = p.id
    WHERE p.project_id = $1 AND p.board = ANY($2::text[]) AND p.id <> ALL($4::integer[])) AS f
    ON f.board = t.board AND f.period = t.period AND f.user_id = t.user_id
WHERE (t.lead, t.reached_at, t.rest) IS DISTINCT FROM (f.lead, f.reached_at, f.rest)
ORDER BY 1, 2, 3 LIMIT $3::integer

-- name: wrong_counts
-- Ranges whose count is not the number of their entries, as (board, period, bucket, part, entries, count). As above.
WITH own AS (
    SELECT id, board, period FROM board_periods
    WHERE project_id = $1 AND board = ANY($2::text[]) AND id <> ALL($4::integer[])
), placed AS (
    SELECT e.board_period, board_bucket(-e.lead) AS bucket, coalesce((
        SELECT b.part FROM board_parts b
        WHERE b.project_id = e.project_id AND b.board_period = e.board_period AND b.bucket = board_bucket(-e.lead)
            AND (b.from_lead, b.from_at, b.from_user) <= (e.lead, e.reached_at, e.user_id)
        ORDER BY b.from_lead DESC, b.from_at DESC, b.from_user DESC LIMIT 1), 0) AS part
    FROM own JOIN board_entries e ON e.project_id = $1 AND e.board_period = own.id
), there AS (
    SELECT board_period, bucket, part, count(*) AS entries FROM placed GROUP BY 1, 2, 3
), counted AS (
    SELECT c.board_period, c.bucket, c.part, sum(c.entries)::bigint AS entries
    FROM own JOIN board_counts c ON c.project_id = $1 AND c.board_period = own.id GROUP BY 1, 2, 3
)
SELECT own.board, own.period, bucket, part, coalesce(there.entries, 0), coalesce(counted.entries, 0)
FROM there FULL JOIN counted USING (board_period, bucket, part) JOIN own ON own.id = board_period
WHERE coalesce(there.entries, 0) <> coalesce(counted.entries, 0)
ORDER BY 1, 2, 3, 4 LIMIT $3::integer
