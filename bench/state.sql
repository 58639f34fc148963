-- name: tenants
WITH organization AS (INSERT INTO organizations (slug, name) VALUES ('bench', 'Bench') RETURNING id)
INSERT INTO projects (organization_id, app_id, name) SELECT id, 'bench-' || n, 'Bench ' || n FROM organization, generate_series(1, 3) AS n

-- name: programs
INSERT INTO program_versions (project_id, version, document)
SELECT id, program_version + 1, $1::json FROM projects

-- name: use_programs
UPDATE projects SET program_version = program_version + 1

-- name: users
INSERT INTO users (project_id, external_id, display_name)
SELECT 1 + n % 3, 'user-' || n, 'User ' || n FROM generate_series(1, $1::integer) AS n

-- name: seeds
-- The events to come: spread evenly over the last twenty days, of random users.
CREATE TEMPORARY TABLE seeds AS
SELECT uuidv7(-age) AS id, u.id AS user_id, u.project_id, u.external_id, now() - age AS at,
    (array['easy', 'hard'])[1 + n % 2] AS difficulty, 1 + n % 60 AS minutes
FROM (SELECT n, ($1::integer - n) * interval '20 days' / $1::integer AS age, 1 + floor(random() * $2::integer)::bigint AS pick
      FROM generate_series(1, $1::integer) AS n) AS s
JOIN users u ON u.id = s.pick
ORDER BY n

-- name: events
INSERT INTO events (id, project_id, type, external_user, payload, occurred_at, received_at)
SELECT id, project_id, 'task_completed', external_id, json_build_object('difficulty', difficulty, 'minutes', minutes), at, at FROM seeds

-- name: dedupe_keys
INSERT INTO dedupe_keys (project_id, key_hash, event_id, content_hash)
SELECT project_id, decode(md5(random()::text), 'hex'), id, decode(md5(id::text), 'hex') FROM seeds

-- name: attempts
INSERT INTO attempts (project_id, event_id, number, status, reason, duration_us, at)
SELECT project_id, id, 1, 'processed', 'PROCESSED', 100, at FROM seeds

-- name: decisions
INSERT INTO decisions (project_id, event_id, user_id, status, reason, program_version, trace)
SELECT project_id, id, user_id, 'processed', 'PROCESSED', 1, '{"fired":["task"]}' FROM seeds

-- name: transfers
INSERT INTO transfers (project_id, event_id, ordinal, user_id, currency, debit, credit, amount, rule, program_version, at)
SELECT project_id, id, ordinal, user_id, currency, 'issuance', 'user', CASE ordinal WHEN 0 THEN 2 * minutes ELSE 5 END, 'rule:task', 1, at
FROM seeds CROSS JOIN (VALUES (0, 'xp'), (1, 'coins')) AS c (ordinal, currency)

-- name: balances
INSERT INTO balances (project_id, user_id, currency, amount, level)
SELECT project_id, user_id, currency, sum(amount),
    CASE currency WHEN 'xp' THEN floor(sqrt(sum(amount) / 100.0)) + 1 ELSE 0 END
FROM transfers GROUP BY 1, 2, 3

-- name: metrics
INSERT INTO metrics (project_id, user_id, metric, value) SELECT project_id, user_id, 'tasks', count(*) FROM seeds GROUP BY 1, 2

-- name: streaks
WITH days AS (
    SELECT DISTINCT project_id, user_id, at::date - date '0001-01-01' + 1 AS day FROM seeds
), runs AS (
    SELECT project_id, user_id, min(day) AS first, max(day) AS last
    FROM (SELECT *, day - row_number() OVER (PARTITION BY user_id ORDER BY day) AS run FROM days) AS d
    GROUP BY project_id, user_id, run
)
INSERT INTO streaks (project_id, user_id, streak, active, run_start, last_period, length, longest)
SELECT project_id, user_id, 'daily', range_agg(int4range(first, last + 1)), max(first), max(last),
    max(last) - max(first) + 1, max(last - first + 1)
FROM runs GROUP BY 1, 2

-- name: board_periods
INSERT INTO board_periods (project_id, board, period)
SELECT DISTINCT project_id, 'xp-week', to_char(at, 'IYYY-"W"IW') FROM seeds UNION SELECT id, 'xp-all', 'all-time' FROM projects

-- name: board_entries
INSERT INTO board_entries (project_id, board_period, user_id, lead, reached_at)
SELECT t.project_id, p.id, t.user_id, -sum(t.amount), max(t.at)
FROM transfers t JOIN board_periods p ON p.project_id = t.project_id
    AND ((p.board = 'xp-all') OR (p.board = 'xp-week' AND p.period = to_char(t.at, 'IYYY-"W"IW')))
WHERE t.currency = 'xp' GROUP BY 1, 2, 3

-- name: board_counts
INSERT INTO board_counts (project_id, board_period, bucket, part, shard, entries)
SELECT project_id, board_period, board_bucket(-lead), 0, 0, count(*) FROM board_entries GROUP BY 1, 2, 3

-- name: board_crowds
INSERT INTO board_crowds (project_id, board_period, bucket, part)
SELECT project_id, board_period, bucket, part FROM board_counts WHERE entries > 4096

-- name: key
INSERT INTO api_keys (id, project_id, key_hash, prefix, type, role, name)
SELECT gen_random_uuid(), id, sha256(convert_to('sk_live_' || app_id, 'UTF8')), 'sk_live_bench', 'secret', 'ADMIN', 'bench' FROM projects
