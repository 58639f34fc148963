-- The records of mechanics that keep one a name. Loads take parallel arrays of project ids, user ids and names, and return
-- user id, name and the columns of the state; puts take a column each.

-- name: load_vitals
-- $1 projects, $2 users, $3 vitals.
SELECT v.user_id, v.vital, v.value, v.at
FROM unnest($1::integer[], $2::bigint[], $3::text[]) AS i (project_id, user_id, name)
JOIN vitals v ON v.project_id = i.project_id AND v.user_id = i.user_id AND v.vital = i.name;

-- name: put_vitals
-- The value as of an instant. Arrays, a column each.
INSERT INTO vitals (project_id, user_id, vital, value, at)
SELECT * FROM unnest($1::integer[], $2::bigint[], $3::text[], $4::bigint[], $5::timestamptz[])
ON CONFLICT ON CONSTRAINT vitals_pk DO UPDATE SET value = excluded.value, at = excluded.at;

-- name: load_items
-- $1 projects, $2 users, $3 items.
SELECT t.user_id, t.item, t.lots, t.used_at
FROM unnest($1::integer[], $2::bigint[], $3::text[]) AS i (project_id, user_id, name)
JOIN items t ON t.project_id = i.project_id AND t.user_id = i.user_id AND t.item = i.name;

-- name: put_items
-- The lots a user holds now. Arrays, a column each.
INSERT INTO items (project_id, user_id, item, units, lots, used_at)
SELECT project_id, user_id, item, units, lots::json, used_at
FROM unnest($1::integer[], $2::bigint[], $3::text[], $4::integer[], $5::text[], $6::timestamptz[])
     AS i (project_id, user_id, item, units, lots, used_at)
ON CONFLICT ON CONSTRAINT items_pk DO UPDATE SET units = excluded.units, lots = excluded.lots, used_at = excluded.used_at;

-- name: load_check_ins
-- $1 projects, $2 users, $3 numbers of days, as texts.
SELECT c.user_id, c.day::text, c.at
FROM unnest($1::integer[], $2::bigint[], $3::text[]) AS i (project_id, user_id, name)
JOIN check_ins c ON c.project_id = i.project_id AND c.user_id = i.user_id AND c.day = i.name::integer;

-- name: put_check_ins
-- Never an update: a second check-in of a day is refused by the engine, and by the constraint after it.
INSERT INTO check_ins (project_id, user_id, day, at)
SELECT project_id, user_id, day::integer, at
FROM unnest($1::integer[], $2::bigint[], $3::text[], $4::timestamptz[]) AS i (project_id, user_id, day, at);

-- name: vitals_of_user
-- $1 project, $2 user.
SELECT vital, value, at FROM vitals WHERE project_id = $1 AND user_id = $2;

-- name: items_of_user
-- $1 project, $2 user.
SELECT item, lots, used_at FROM items WHERE project_id = $1 AND user_id = $2;

-- name: load_boosts
-- $1 projects, $2 users, $3 boosts.
SELECT b.user_id, b.boost, b.until
FROM unnest($1::integer[], $2::bigint[], $3::text[]) AS i (project_id, user_id, name)
JOIN boosts b ON b.project_id = i.project_id AND b.user_id = i.user_id AND b.boost = i.name;

-- name: put_boosts
-- Until when each holds. Arrays, a column each.
INSERT INTO boosts (project_id, user_id, boost, until)
SELECT * FROM unnest($1::integer[], $2::bigint[], $3::text[], $4::timestamptz[])
ON CONFLICT ON CONSTRAINT boosts_pk DO UPDATE SET until = excluded.until;

-- name: boosts_of_user
-- $1 project, $2 user.
SELECT boost, until FROM boosts WHERE project_id = $1 AND user_id = $2;

-- name: load_tiers
-- $1 projects, $2 users, $3 tiers.
SELECT t.user_id, t.tier, t.step, t.best, t.earned
FROM unnest($1::integer[], $2::bigint[], $3::text[]) AS i (project_id, user_id, name)
JOIN tiers t ON t.project_id = i.project_id AND t.user_id = i.user_id AND t.tier = i.name;

-- name: put_tiers
-- The steps users stand on now. Arrays, a column each.
INSERT INTO tiers (project_id, user_id, tier, step, best, earned)
SELECT * FROM unnest($1::integer[], $2::bigint[], $3::text[], $4::smallint[], $5::smallint[], $6::bigint[])
ON CONFLICT ON CONSTRAINT tiers_pk DO UPDATE SET step = excluded.step, best = excluded.best, earned = excluded.earned;

-- name: tiers_of_user
-- $1 project, $2 user.
SELECT tier, step, best, earned FROM tiers WHERE project_id = $1 AND user_id = $2;

-- name: load_windows
-- A name is a unit and a metric, `days:tasks`. $1 projects, $2 users, $3 names.
SELECT w.user_id, i.name, w.buckets
FROM unnest($1::integer[], $2::bigint[], $3::text[]) AS i (project_id, user_id, name)
JOIN metric_windows w ON w.project_id = i.project_id AND w.user_id = i.user_id
                     AND w.metric = substr(i.name, strpos(i.name, ':') + 1) AND w.unit = split_part(i.name, ':', 1);

-- name: put_windows
-- The buckets as they are now. Arrays, a column each.
INSERT INTO metric_windows (project_id, user_id, metric, unit, buckets)
SELECT project_id, user_id, substr(name, strpos(name, ':') + 1), split_part(name, ':', 1), buckets::json
FROM unnest($1::integer[], $2::bigint[], $3::text[], $4::text[]) AS i (project_id, user_id, name, buckets)
ON CONFLICT ON CONSTRAINT metric_windows_pk DO UPDATE SET buckets = excluded.buckets;

-- name: windows_of_user
-- $1 project, $2 user.
SELECT unit || ':' || metric, buckets FROM metric_windows WHERE project_id = $1 AND user_id = $2;

-- name: load_progress
-- $1 projects, $2 users, $3 achievements.
SELECT p.user_id, p.achievement, p.value, p.at
FROM unnest($1::integer[], $2::bigint[], $3::text[]) AS i (project_id, user_id, name)
JOIN achievement_progress p ON p.project_id = i.project_id AND p.user_id = i.user_id AND p.achievement = i.name;

-- name: put_progress
-- What was reported last. Arrays, a column each.
INSERT INTO achievement_progress (project_id, user_id, achievement, value, at)
SELECT * FROM unnest($1::integer[], $2::bigint[], $3::text[], $4::numeric[], $5::timestamptz[])
ON CONFLICT ON CONSTRAINT achievement_progress_pk DO UPDATE SET value = excluded.value, at = excluded.at;

-- name: progress_of_user
-- $1 project, $2 user.
SELECT achievement, value, at FROM achievement_progress WHERE project_id = $1 AND user_id = $2;
