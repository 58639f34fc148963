-- Seasons: closed once, with results for all whom they concern, which are then sent in batches.

-- name: projects
-- The projects whose program in force has seasons. They are all tenants': the worker looks after each in turn.
SELECT p.id AS project_id
FROM projects p JOIN program_versions v ON v.project_id = p.id AND v.version = p.program_version
WHERE v.document -> 'seasons' IS NOT NULL
ORDER BY p.id;

-- name: ends
-- What is known of the project's ended seasons. $1 project.
SELECT season, settled_at IS NOT NULL AS settled FROM season_ends WHERE project_id = $1;

-- name: close
-- Close a season; no row: it was closed before. $1 project, $2 season, $3 now.
INSERT INTO season_ends (project_id, season, closed_at) VALUES ($1, $2, $3)
ON CONFLICT ON CONSTRAINT season_ends_pk DO NOTHING
RETURNING season;

-- name: add_places
-- Every place of one board of the season. $1 project, $2 season, $3 board's stored name, $4 its name in the season, $5 ties.
INSERT INTO season_results AS r (project_id, season, user_id, places)
SELECT $1, $2, e.user_id, jsonb_build_array(jsonb_build_object('board', $4::text, 'rank', e.rank, 'score', e.score))
FROM (
    SELECT e.user_id, -e.lead AS score, CASE $5::text
        WHEN 'first' THEN row_number() OVER (ORDER BY e.lead, e.reached_at, e.user_id)
        WHEN 'competition' THEN rank() OVER (ORDER BY e.lead)
        ELSE dense_rank() OVER (ORDER BY e.lead) END AS rank
    FROM board_periods p JOIN board_entries e ON e.project_id = p.project_id AND e.board_period = p.id
    WHERE p.project_id = $1 AND p.board = $3 AND p.period = $2) AS e
ON CONFLICT ON CONSTRAINT season_results_pk DO UPDATE SET places = r.places || excluded.places;

-- name: add_resets
-- What the end takes: each balance without what was received since. $1 project, $2 season, $3 currencies, $4 the end, $5 an
-- event id below all that were received since.
INSERT INTO season_results (project_id, season, user_id, reset)
SELECT $1, $2, b.user_id, jsonb_object_agg(b.currency, b.amount - coalesce(s.amount, 0))
FROM balances b
LEFT JOIN (
    SELECT user_id, currency, sum(amount)::bigint AS amount FROM transfers
    WHERE project_id = $1 AND event_id >= $5 AND at >= $4 AND credit = 'user' AND currency = ANY($3::text[])
    GROUP BY 1, 2) AS s ON s.user_id = b.user_id AND s.currency = b.currency
WHERE b.project_id = $1 AND b.currency = ANY($3::text[]) AND b.amount > coalesce(s.amount, 0)
GROUP BY b.user_id
ON CONFLICT ON CONSTRAINT season_results_pk DO UPDATE SET reset = excluded.reset;

-- name: hold_progress
-- A closed season whose results are being sent, locked until the transaction ends; no row where another worker has it, or it
-- is done. $1 project, $2 season.
SELECT sent_to, closed_at FROM season_ends
WHERE project_id = $1 AND season = $2 AND settled_at IS NULL
FOR NO KEY UPDATE SKIP LOCKED;

-- name: next_results
-- The next results to send. $1 project, $2 season, $3 last user done, $4 limit.
SELECT r.user_id, u.external_id, r.places, r.reset
FROM season_results r JOIN users u ON u.id = r.user_id
WHERE r.project_id = $1 AND r.season = $2 AND r.user_id > $3
ORDER BY r.user_id
LIMIT $4::integer;

-- name: advance
-- Note how far the results are sent. $1 project, $2 season, $3 last user done.
UPDATE season_ends SET sent_to = $3 WHERE project_id = $1 AND season = $2;

-- name: settle
-- All results are sent. $1 project, $2 season, $3 now.
UPDATE season_ends SET settled_at = $3 WHERE project_id = $1 AND season = $2;

-- name: results_of_user
-- What ended seasons came to for a user. $1 project, $2 seasons, $3 user.
SELECT r.season, r.places
FROM unnest($2::text[]) AS i (season)
JOIN season_results r ON r.project_id = $1 AND r.season = i.season AND r.user_id = $3;
