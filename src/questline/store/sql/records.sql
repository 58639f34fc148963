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
SELECT b.user_id, b.boost, b.until, b.since, b.earlier
FROM unnest($1::integer[], $2::bigint[], $3::text[]) AS i (project_id, user_id, name)
JOIN boosts b ON b.project_id = i.project_id AND b.user_id = i.user_id AND b.boost = i.name;

-- name: put_boosts
-- When each holds and held. Arrays, a column each.
INSERT INTO boosts (project_id, user_id, boost, until, since, earlier)
SELECT project_id, user_id, boost, until, since, earlier::json
FROM unnest($1::integer[], $2::bigint[], $3::text[], $4::timestamptz[], $5::timestamptz[], $6::text[])
     AS i (project_id, user_id, boost, until, since, earlier)
ON CONFLICT ON CONSTRAINT boosts_pk
DO UPDATE SET until = excluded.until, since = excluded.since, earlier = excluded.earlier;

-- name: boosts_of_user
-- $1 project, $2 user.
SELECT boost, until, since, earlier FROM boosts WHERE project_id = $1 AND user_id = $2;

-- name: load_tiers
-- $1 projects, $2 users, $3 tiers.
SELECT t.user_id, t.tier, t.step, t.best, t.earned, t.marks
FROM unnest($1::integer[], $2::bigint[], $3::text[]) AS i (project_id, user_id, name)
JOIN tiers t ON t.project_id = i.project_id AND t.user_id = i.user_id AND t.tier = i.name;

-- name: put_tiers
-- The steps users stand on now. Arrays, a column each.
INSERT INTO tiers (project_id, user_id, tier, step, best, earned, marks)
SELECT project_id, user_id, tier, step, best, earned, marks::json
FROM unnest($1::integer[], $2::bigint[], $3::text[], $4::smallint[], $5::smallint[], $6::bigint[], $7::text[])
     AS i (project_id, user_id, tier, step, best, earned, marks)
ON CONFLICT ON CONSTRAINT tiers_pk DO UPDATE SET
    step = excluded.step, best = excluded.best, earned = excluded.earned, marks = excluded.marks;

-- name: tiers_of_user
-- $1 project, $2 user.
SELECT tier, step, best, earned, marks FROM tiers WHERE project_id = $1 AND user_id = $2;

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

-- name: lock_referral_codes
-- Attributions of a project are taken one after another, so that two users who name each other at once make no ring: the
-- second one reads what the first one wrote, in a statement of its own. $1 projects, one or more times each.
SELECT count(pg_advisory_xact_lock(x'716c7266'::integer, project_id))
FROM (SELECT DISTINCT project_id FROM unnest($1::integer[]) AS p (project_id) ORDER BY project_id) AS projects;

-- name: load_referral_codes
-- Whose codes are, and who brought those users, upwards: as far as REFERRAL_CHAIN_MAX, and what is not seen to its end by then is
-- refused. $1 projects, $2 users, $3 codes.
WITH RECURSIVE named AS (
    SELECT i.project_id, i.user_id, i.name, c.user_id AS owner
    FROM unnest($1::integer[], $2::bigint[], $3::text[]) AS i (project_id, user_id, name)
    JOIN referral_codes c ON c.project_id = i.project_id AND c.code = i.name
), upwards (project_id, owner, ancestor, height) AS (
    SELECT DISTINCT project_id, owner, owner, 0 FROM named
    UNION ALL
    SELECT u.project_id, u.owner, r.referrer_id, u.height + 1
    FROM upwards u JOIN referrals r ON r.project_id = u.project_id AND r.user_id = u.ancestor
    WHERE u.height < 1000
), above AS (
    SELECT project_id, owner, array_agg(ancestor ORDER BY height) FILTER (WHERE height > 0) AS ancestors
    FROM upwards GROUP BY project_id, owner
)
SELECT n.user_id, n.name, n.owner, o.external_id, coalesce(a.ancestors, '{}') AS ancestors
FROM named n
JOIN users o ON o.project_id = n.project_id AND o.id = n.owner
JOIN above a ON a.project_id = n.project_id AND a.owner = n.owner;

-- name: load_referrals
-- Who brought these users. $1 projects, $2 users, $3 the one name such a record has.
SELECT r.user_id, i.name, r.referrer_id, u.external_id, r.at, r.status
FROM unnest($1::integer[], $2::bigint[], $3::text[]) AS i (project_id, user_id, name)
JOIN referrals r ON r.project_id = i.project_id AND r.user_id = i.user_id
JOIN users u ON u.project_id = r.project_id AND u.id = r.referrer_id;

-- name: put_referrals
-- Who brought a user never changes, only whether it counted. Arrays, a column each.
INSERT INTO referrals (project_id, user_id, referrer_id, at, status)
SELECT project_id, user_id, referrer_id, at, status
FROM unnest($1::integer[], $2::bigint[], $3::text[], $4::bigint[], $5::timestamptz[], $6::text[])
     AS i (project_id, user_id, name, referrer_id, at, status)
ON CONFLICT ON CONSTRAINT referrals_pk DO UPDATE SET status = excluded.status;

-- name: load_commissions
-- $1 projects, $2 users, $3 commissions with their orders.
SELECT c.user_id, c.commission, c.amount, c.plan, c.reversed, c.currency
FROM unnest($1::integer[], $2::bigint[], $3::text[]) AS i (project_id, user_id, name)
JOIN commissions c ON c.project_id = i.project_id AND c.user_id = i.user_id AND c.commission = i.name;

-- name: put_commissions
-- What each order paid, and whether it was taken back. Arrays, a column each.
INSERT INTO commissions (project_id, user_id, commission, amount, plan, reversed, currency)
SELECT * FROM unnest($1::integer[], $2::bigint[], $3::text[], $4::bigint[], $5::text[], $6::boolean[], $7::text[])
ON CONFLICT ON CONSTRAINT commissions_pk DO UPDATE SET reversed = excluded.reversed;

-- name: load_league_standings
-- $1 projects, $2 users, $3 leagues.
SELECT s.user_id, s.league, s.tier, s.week, s.rank, s.outcome
FROM unnest($1::integer[], $2::bigint[], $3::text[]) AS i (project_id, user_id, name)
JOIN league_standings s ON s.project_id = i.project_id AND s.user_id = i.user_id AND s.league = i.name;

-- name: put_league_standings
-- Where the last week left users. Arrays, a column each.
INSERT INTO league_standings (project_id, user_id, league, tier, week, rank, outcome)
SELECT * FROM unnest($1::integer[], $2::bigint[], $3::text[], $4::smallint[], $5::text[], $6::integer[], $7::text[])
ON CONFLICT ON CONSTRAINT league_standings_pk DO UPDATE SET
    tier = excluded.tier, week = excluded.week, rank = excluded.rank, outcome = excluded.outcome;



-- name: load_guard_marks
-- $1 projects, $2 users, $3 guards.
SELECT m.user_id, m.guard, m.marks, m.value
FROM unnest($1::integer[], $2::bigint[], $3::text[]) AS i (project_id, user_id, name)
JOIN guard_marks m ON m.project_id = i.project_id AND m.user_id = i.user_id AND m.guard = i.name;

-- name: put_guard_marks
-- What guards remember now. Arrays, a column each.
INSERT INTO guard_marks (project_id, user_id, guard, marks, value)
SELECT project_id, user_id, guard, marks::json, value
FROM unnest($1::integer[], $2::bigint[], $3::text[], $4::text[], $5::numeric[]) AS i (project_id, user_id, guard, marks, value)
ON CONFLICT ON CONSTRAINT guard_marks_pk DO UPDATE SET marks = excluded.marks, value = excluded.value;

-- name: load_suspicions
-- $1 projects, $2 users, $3 one name for all, for a user has one score.
SELECT s.user_id, i.name, s.score, s.at
FROM unnest($1::integer[], $2::bigint[], $3::text[]) AS i (project_id, user_id, name)
JOIN suspicions s ON s.project_id = i.project_id AND s.user_id = i.user_id;

-- name: put_suspicions
-- The score as of an instant. Arrays, a column each; the name is left out.
INSERT INTO suspicions (project_id, user_id, score, at)
SELECT project_id, user_id, score, at
FROM unnest($1::integer[], $2::bigint[], $3::text[], $4::integer[], $5::timestamptz[]) AS i (project_id, user_id, name, score, at)
ON CONFLICT ON CONSTRAINT suspicions_pk DO UPDATE SET score = excluded.score, at = excluded.at;

-- name: suspicion_of_user
-- $1 project, $2 user. The name is that of all records that a user has one of.
SELECT 'user', score, at FROM suspicions WHERE project_id = $1 AND user_id = $2;

-- name: load_blocks
-- $1 projects, $2 users, $3 one name for all.
SELECT b.user_id, i.name, b.blocked, b.hidden, b.reason, b.at
FROM unnest($1::integer[], $2::bigint[], $3::text[]) AS i (project_id, user_id, name)
JOIN blocks b ON b.project_id = i.project_id AND b.user_id = i.user_id;

-- name: put_blocks
-- Whether users are blocked now; in their own row as well, where whoever locks them finds it. Arrays, a column each.
WITH i AS (
    SELECT * FROM unnest($1::integer[], $2::bigint[], $3::text[], $4::boolean[], $5::boolean[], $6::text[], $7::timestamptz[])
        AS i (project_id, user_id, name, blocked, hidden, reason, at)
), marked AS (
    UPDATE users u SET blocked_at = CASE WHEN i.blocked THEN i.at END
    FROM i WHERE u.project_id = i.project_id AND u.id = i.user_id
)
INSERT INTO blocks (project_id, user_id, blocked, hidden, reason, at)
SELECT project_id, user_id, blocked, hidden, reason, at FROM i
ON CONFLICT ON CONSTRAINT blocks_pk DO UPDATE SET
    blocked = excluded.blocked, hidden = excluded.hidden, reason = excluded.reason, at = excluded.at;

-- name: load_reviews
-- $1 projects, $2 users, $3 ids of held events, as texts.
SELECT r.user_id, i.name, r.status, r.at, r.reason, r.decided_by
FROM unnest($1::integer[], $2::bigint[], $3::text[]) AS i (project_id, user_id, name)
JOIN reviews r ON r.project_id = i.project_id AND r.user_id = i.user_id
    AND r.event_id = i.name::uuid;

-- name: put_reviews
-- Held events and what became of them. What was decided is the event's own status from then on; its trace stays as it is.
-- Arrays, a column each.
WITH i AS (
    SELECT * FROM unnest($1::integer[], $2::bigint[], $3::text[], $4::text[], $5::timestamptz[], $6::text[], $7::uuid[])
        AS i (project_id, user_id, name, status, at, reason, decided_by)
), settled AS (
    UPDATE decisions d SET status = CASE i.status WHEN 'approved' THEN 'processed' ELSE 'refused' END,
                           reason = CASE i.status WHEN 'approved' THEN 'PROCESSED' ELSE 'REVIEW_DENIED' END
    FROM i
    WHERE i.status <> 'waiting' AND d.project_id = i.project_id AND d.event_id = i.name::uuid AND d.status = 'held'
)
INSERT INTO reviews (project_id, user_id, event_id, status, at, reason, decided_by)
SELECT project_id, user_id, name::uuid, status, at, reason, decided_by FROM i
ON CONFLICT ON CONSTRAINT reviews_pk DO UPDATE SET
    status = excluded.status, reason = excluded.reason, decided_by = excluded.decided_by;

-- name: load_streak_choices
-- $1 projects, $2 users, $3 streaks.
SELECT c.user_id, c.streak, c.days::text, c.targets, c.day_starts
FROM unnest($1::integer[], $2::bigint[], $3::text[]) AS i (project_id, user_id, name)
JOIN streak_choices c ON c.project_id = i.project_id AND c.user_id = i.user_id AND c.streak = i.name;

-- name: put_streak_choices
-- What was chosen, and the active days of streaks that count them. Arrays, a column each.
INSERT INTO streak_choices (project_id, user_id, streak, days, targets, day_starts)
SELECT project_id, user_id, streak, days::int4multirange, targets::json, day_starts::json
FROM unnest($1::integer[], $2::bigint[], $3::text[], $4::text[], $5::text[], $6::text[])
     AS i (project_id, user_id, streak, days, targets, day_starts)
ON CONFLICT ON CONSTRAINT streak_choices_pk DO UPDATE SET
    days = excluded.days, targets = excluded.targets, day_starts = excluded.day_starts;

-- name: streak_choices_of_user
-- $1 project, $2 user.
SELECT streak, days::text, targets, day_starts FROM streak_choices WHERE project_id = $1 AND user_id = $2;

-- name: load_grants
-- $1 projects, $2 users, $3 grants.
SELECT g.user_id, g.grant_id, g.reward, g.status, g.cause, g.at, g.expires_at, g.settled_at, g.holds, g.limited, g.given
FROM unnest($1::integer[], $2::bigint[], $3::text[]) AS i (project_id, user_id, name)
JOIN grants g ON g.project_id = i.project_id AND g.grant_id = i.name AND g.user_id = i.user_id;

-- name: put_grants
-- A new grant, or what became of one. Arrays, a column each.
INSERT INTO grants (project_id, user_id, grant_id, reward, status, cause, at, expires_at, settled_at, holds, limited, given)
SELECT project_id, user_id, grant_id, reward, status, cause, at, expires_at, settled_at, holds::json, limited, given::json
FROM unnest($1::integer[], $2::bigint[], $3::text[], $4::text[], $5::text[], $6::text[], $7::timestamptz[], $8::timestamptz[],
            $9::timestamptz[], $10::text[], $11::boolean[], $12::text[])
     AS i (project_id, user_id, grant_id, reward, status, cause, at, expires_at, settled_at, holds, limited, given)
ON CONFLICT ON CONSTRAINT grants_pk DO UPDATE SET
    status = excluded.status, settled_at = excluded.settled_at, given = excluded.given;

-- name: load_badges
-- $1 projects, $2 users, $3 badges.
SELECT b.user_id, b.badge, b.at, b.times
FROM unnest($1::integer[], $2::bigint[], $3::text[]) AS i (project_id, user_id, name)
JOIN badges b ON b.project_id = i.project_id AND b.user_id = i.user_id AND b.badge = i.name;

-- name: put_badges
-- Arrays, a column each.
INSERT INTO badges (project_id, user_id, badge, at, times)
SELECT * FROM unnest($1::integer[], $2::bigint[], $3::text[], $4::timestamptz[], $5::integer[])
ON CONFLICT ON CONSTRAINT badges_pk DO UPDATE SET at = excluded.at, times = excluded.times;

-- name: load_allowances
-- $1 projects, $2 users, $3 names.
SELECT a.user_id, a.name, a.units
FROM unnest($1::integer[], $2::bigint[], $3::text[]) AS i (project_id, user_id, name)
JOIN allowances a ON a.project_id = i.project_id AND a.user_id = i.user_id AND a.name = i.name;

-- name: put_allowances
-- Arrays, a column each.
INSERT INTO allowances (project_id, user_id, name, units)
SELECT * FROM unnest($1::integer[], $2::bigint[], $3::text[], $4::integer[])
ON CONFLICT ON CONSTRAINT allowances_pk DO UPDATE SET units = excluded.units;

-- name: badges_of_user
-- $1 project, $2 user.
SELECT badge, at, times FROM badges WHERE project_id = $1 AND user_id = $2;

-- name: grants_of_user
-- Those that wait to be claimed, the newest 50. $1 project, $2 user.
SELECT grant_id, reward, status, cause, at, expires_at, settled_at, holds, limited, given
FROM grants WHERE project_id = $1 AND user_id = $2 AND status = 'PENDING'
ORDER BY grant_id DESC LIMIT 50;

-- name: load_quests
-- $1 projects, $2 users, $3 quests.
SELECT q.user_id, q.quest, q.status, q.times, q.period, q.started_at, q.deadline, q.ended_at, q.progress
FROM unnest($1::integer[], $2::bigint[], $3::text[]) AS i (project_id, user_id, name)
JOIN quests q ON q.project_id = i.project_id AND q.user_id = i.user_id AND q.quest = i.name;

-- name: put_quests
-- The latest run of each. Arrays, a column each.
INSERT INTO quests (project_id, user_id, quest, status, times, period, started_at, deadline, ended_at, progress)
SELECT project_id, user_id, quest, status, times, period, started_at, deadline, ended_at, progress::json
FROM unnest($1::integer[], $2::bigint[], $3::text[], $4::text[], $5::integer[], $6::integer[], $7::timestamptz[],
            $8::timestamptz[], $9::timestamptz[], $10::text[])
     AS i (project_id, user_id, quest, status, times, period, started_at, deadline, ended_at, progress)
ON CONFLICT ON CONSTRAINT quests_pk DO UPDATE
    SET status = excluded.status, times = excluded.times, period = excluded.period, started_at = excluded.started_at,
        deadline = excluded.deadline, ended_at = excluded.ended_at, progress = excluded.progress;

-- name: quests_of_user
-- $1 project, $2 user.
SELECT quest, status, times, period, started_at, deadline, ended_at, progress FROM quests WHERE project_id = $1 AND user_id = $2;

-- name: load_fulfilments
-- $1 projects, $2 users, $3 fulfilments.
SELECT f.user_id, f.fulfilment_id, f.item, f.method, f.status, f.price, f.at, f.settled_at, f.note, f.holds, f.limited
FROM unnest($1::integer[], $2::bigint[], $3::text[]) AS i (project_id, user_id, name)
JOIN fulfilments f ON f.project_id = i.project_id AND f.fulfilment_id = i.name AND f.user_id = i.user_id;

-- name: put_fulfilments
-- A new redemption, or what became of one. Arrays, a column each.
INSERT INTO fulfilments (project_id, user_id, fulfilment_id, item, method, status, price, at, settled_at, note, holds, limited)
SELECT project_id, user_id, fulfilment_id, item, method, status, price::json, at, settled_at, note, holds::json, limited
FROM unnest($1::integer[], $2::bigint[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::timestamptz[],
            $9::timestamptz[], $10::text[], $11::text[], $12::boolean[])
     AS i (project_id, user_id, fulfilment_id, item, method, status, price, at, settled_at, note, holds, limited)
ON CONFLICT ON CONSTRAINT fulfilments_pk DO UPDATE SET
    status = excluded.status, settled_at = excluded.settled_at, note = excluded.note;
