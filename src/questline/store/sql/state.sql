-- Loads of what a batch may read or change. Each takes parallel arrays of project ids, user ids and names.

-- name: balances
-- $1 projects, $2 users, $3 currencies.
SELECT b.user_id, b.currency, b.amount, b.level, b.debt
FROM unnest($1::integer[], $2::bigint[], $3::text[]) AS i (project_id, user_id, currency)
JOIN balances b ON b.project_id = i.project_id AND b.user_id = i.user_id AND b.currency = i.currency;

-- name: metrics
-- $1 projects, $2 users, $3 metrics.
SELECT m.user_id, m.metric, m.value, m.last_at
FROM unnest($1::integer[], $2::bigint[], $3::text[]) AS i (project_id, user_id, metric)
JOIN metrics m ON m.project_id = i.project_id AND m.user_id = i.user_id AND m.metric = i.metric;

-- name: metric_values
-- Which values a `distinct` metric has seen. $1 projects, $2 users, $3 metrics, $4 hashes.
SELECT v.user_id, v.metric, v.value_hash
FROM unnest($1::integer[], $2::bigint[], $3::text[], $4::bytea[]) AS i (project_id, user_id, metric, value_hash)
JOIN metric_values v ON v.project_id = i.project_id AND v.user_id = i.user_id AND v.metric = i.metric
                    AND v.value_hash = i.value_hash;

-- name: streaks
-- $1 projects, $2 users, $3 streaks. The sets come as text: they are parsed only for late events.
SELECT s.user_id, s.streak, s.active::text, s.excused::text, s.run_start, s.last_period, s.length, s.longest, s.freeze_credit
FROM unnest($1::integer[], $2::bigint[], $3::text[]) AS i (project_id, user_id, streak)
JOIN streaks s ON s.project_id = i.project_id AND s.user_id = i.user_id AND s.streak = i.streak;

-- name: rule_uses
-- $1 projects, $2 users, $3 rules, $4 window starts.
SELECT r.user_id, r.rule, r.window_start, r.uses
FROM unnest($1::integer[], $2::bigint[], $3::text[], $4::integer[]) AS i (project_id, user_id, rule, window_start)
JOIN rule_uses r ON r.project_id = i.project_id AND r.user_id = i.user_id AND r.rule = i.rule
                AND r.window_start = i.window_start;

-- name: achievements
-- $1 projects, $2 users, $3 achievements.
SELECT a.user_id, a.achievement, a.tier, a.times, a.event_id, a.unlocked_at, a.mark
FROM unnest($1::integer[], $2::bigint[], $3::text[]) AS i (project_id, user_id, achievement)
JOIN achievements a ON a.project_id = i.project_id AND a.user_id = i.user_id AND a.achievement = i.achievement;
