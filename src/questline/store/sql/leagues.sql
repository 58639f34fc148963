-- Leagues: scores of the week, seats in cohorts, results. Locks are taken in one order by everybody: users, weeks, tiers.

-- name: add_scores
-- Fold changes into the scores of those who are in the week; a week with a result stays as it is. Returns the places, in
-- the arrays, of those who were found. The users are locked. Arrays: project, league, week, user, mode, points, at; $8 bound.
UPDATE league_members m SET
    score = CASE
        WHEN i.mode = 'set' THEN i.points
        WHEN i.mode = 'add' THEN least(greatest(m.score + i.points, -$8::bigint), $8::bigint)
        ELSE greatest(m.score, i.points)
    END,
    reached_at = CASE
        WHEN i.mode = 'set' THEN i.at
        WHEN i.mode = 'add' THEN greatest(m.reached_at, i.at)
        WHEN i.points = m.score THEN least(m.reached_at, i.at)
        WHEN i.points > m.score THEN i.at
        ELSE m.reached_at
    END
FROM unnest($1::integer[], $2::text[], $3::integer[], $4::bigint[], $5::text[], $6::bigint[], $7::timestamptz[])
    WITH ORDINALITY AS i (project_id, league, week, user_id, mode, points, at, place)
WHERE m.project_id = i.project_id AND m.league = i.league AND m.user_id = i.user_id AND m.week = i.week AND m.outcome IS NULL
RETURNING i.place;

-- name: open_weeks
-- Weeks that somebody scores in for the first time. Arrays: project, league, week, zone, closes at.
INSERT INTO league_weeks (project_id, league, week, zone, closes_at)
SELECT DISTINCT * FROM unnest($1::integer[], $2::text[], $3::integer[], $4::text[], $5::timestamptz[]) ORDER BY 1, 2, 3, 4
ON CONFLICT ON CONSTRAINT league_weeks_pk DO NOTHING;

-- name: hold_weeks
-- Of these weeks those that are open; they stay open until the transaction ends. Arrays: project, league, week, zone.
SELECT w.project_id, w.league, w.week, w.zone
FROM unnest($1::integer[], $2::text[], $3::integer[], $4::text[]) AS i (project_id, league, week, zone)
JOIN league_weeks w ON w.project_id = i.project_id AND w.league = i.league AND w.week = i.week AND w.zone = i.zone
WHERE w.closed_at IS NULL
ORDER BY 1, 2, 3, 4
FOR SHARE OF w;

-- name: join
-- Put users into weeks, without a seat yet; those who are in this week or a later one are left out.
-- Arrays: project, league, week, zone, user, score, reached at.
INSERT INTO league_members (project_id, league, week, zone, user_id, score, reached_at)
SELECT i.* FROM unnest($1::integer[], $2::text[], $3::integer[], $4::text[], $5::bigint[], $6::bigint[], $7::timestamptz[])
    AS i (project_id, league, week, zone, user_id, score, reached_at)
WHERE NOT EXISTS (
    SELECT FROM league_members m
    WHERE m.project_id = i.project_id AND m.league = i.league AND m.user_id = i.user_id AND m.week >= i.week)
ORDER BY 1, 2, 5, 3;

-- name: seat
-- Seat those of the users who are in a week without a seat and whose week before, if there is one, has its result: it says
-- their tier; newcomers begin in the lowest. Seats are numbered on from the tier's open cohort, whose row is locked.
-- Arrays: project, league, user, size of cohorts, highest tier.
WITH waiting AS MATERIALIZED (
    SELECT DISTINCT m.project_id, m.league, m.week, m.zone, m.user_id, m.reached_at, i.size,
        CASE WHEN b.week IS NULL THEN 1 ELSE least(b.next_tier, i.top) END::smallint AS tier
    FROM unnest($1::integer[], $2::text[], $3::bigint[], $4::integer[], $5::smallint[]) AS i (project_id, league, user_id, size, top)
    JOIN league_members m ON m.project_id = i.project_id AND m.league = i.league AND m.user_id = i.user_id
    LEFT JOIN LATERAL (
        SELECT e.week, e.next_tier FROM league_members e
        WHERE e.project_id = m.project_id AND e.league = m.league AND e.user_id = m.user_id AND e.week < m.week
        ORDER BY e.week DESC LIMIT 1) AS b ON true
    WHERE m.cohort IS NULL AND m.outcome IS NULL AND (b.week IS NULL OR b.next_tier IS NOT NULL)
), numbered AS MATERIALIZED (
    SELECT *, row_number() OVER (tier_week ORDER BY reached_at, user_id) AS seat, count(*) OVER tier_week AS seats
    FROM waiting
    WINDOW tier_week AS (PARTITION BY project_id, league, week, zone, tier)
), counted AS (
    INSERT INTO league_tiers AS c (project_id, league, week, zone, tier, cohort, members, size)
    SELECT DISTINCT project_id, league, week, zone, tier, ((seats - 1) / size)::integer, ((seats - 1) % size + 1)::integer, size
    FROM numbered ORDER BY 1, 2, 3, 4, 5
    ON CONFLICT ON CONSTRAINT league_tiers_pk DO UPDATE SET (cohort, members, size) = (
        SELECT last / excluded.size, last % excluded.size + 1, excluded.size
        FROM (SELECT (c.cohort + excluded.cohort) * excluded.size + least(c.members, excluded.size) + excluded.members - 1 AS last) AS s)
    RETURNING project_id, league, week, zone, tier, cohort, members
)
UPDATE league_members m SET tier = n.tier, cohort = (c.cohort * n.size + c.members - 1 - n.seats + n.seat) / n.size
FROM numbered n JOIN counted c USING (project_id, league, week, zone, tier)
WHERE m.project_id = n.project_id AND m.league = n.league AND m.user_id = n.user_id AND m.week = n.week;

-- name: due
-- Weeks of all projects that are to be closed or settled, the oldest first. $1 now.
SELECT project_id, league, week, zone, closes_at, closed_at
FROM league_weeks
WHERE settled_at IS NULL AND closes_at <= $1
ORDER BY closes_at, project_id, league, zone;

-- name: close
-- Close a week, after those who are joining it. $1 project, $2 league, $3 week, $4 zone, $5 now.
UPDATE league_weeks SET closed_at = $5
WHERE project_id = $1 AND league = $2 AND week = $3 AND zone = $4 AND closed_at IS NULL;

-- name: somebody_waits
-- Whether a member of the week still waits for a seat. $1 project, $2 league, $3 week, $4 zone.
SELECT EXISTS (
    SELECT FROM league_members
    WHERE project_id = $1 AND league = $2 AND week = $3 AND zone = $4 AND tier IS NULL);

-- name: hold_progress
-- A closed week that is being settled, locked until the transaction ends; no row where another worker has it, or it is done.
-- $1 project, $2 league, $3 week, $4 zone.
SELECT done_tier, done_cohort, closed_at FROM league_weeks
WHERE project_id = $1 AND league = $2 AND week = $3 AND zone = $4 AND closed_at IS NOT NULL AND settled_at IS NULL
FOR NO KEY UPDATE SKIP LOCKED;

-- name: next_members
-- Who is in the next cohorts. $1 project, $2 league, $3 week, $4 zone, $5 last tier done, $6 last cohort of it, $7 limit.
SELECT m.tier, m.cohort, u.external_id
FROM league_members m JOIN users u ON u.project_id = m.project_id AND u.id = m.user_id
WHERE m.project_id = $1 AND m.league = $2 AND m.week = $3 AND m.zone = $4 AND (m.tier, m.cohort) > ($5::smallint, $6::integer)
ORDER BY m.tier, m.cohort
LIMIT $7::integer;

-- name: scores
-- The members of a range of cohorts with their scores. $1 project, $2 league, $3 week, $4 zone, then (tier, cohort) after and
-- up to: $5, $6, $7, $8.
SELECT tier, cohort, user_id, score, reached_at
FROM league_members
WHERE project_id = $1 AND league = $2 AND week = $3 AND zone = $4
    AND (tier, cohort) > ($5::smallint, $6::integer) AND (tier, cohort) <= ($7::smallint, $8::integer);

-- name: put_results
-- The results of members. $1 project, $2 league, $3 week, then arrays: user, rank, outcome, next tier.
UPDATE league_members m SET rank = i.rank, outcome = i.outcome, next_tier = i.next_tier
FROM unnest($4::bigint[], $5::integer[], $6::text[], $7::smallint[]) AS i (user_id, rank, outcome, next_tier)
WHERE m.project_id = $1 AND m.league = $2 AND m.user_id = i.user_id AND m.week = $3 AND m.outcome IS NULL;

-- name: advance
-- Note how far a week is settled. $1 project, $2 league, $3 week, $4 zone, $5 tier, $6 cohort.
UPDATE league_weeks SET done_tier = $5, done_cohort = $6
WHERE project_id = $1 AND league = $2 AND week = $3 AND zone = $4;

-- name: settle
-- The week has all its results. $1 project, $2 league, $3 week, $4 zone, $5 now.
UPDATE league_weeks SET settled_at = $5
WHERE project_id = $1 AND league = $2 AND week = $3 AND zone = $4;

-- name: weeks_of_user
-- A user's latest weeks of each league, newest first. $1 project, $2 user, $3 leagues, $4 limit of each.
SELECT m.league, m.week, m.zone, m.tier, m.cohort, m.score, m.rank, m.outcome, m.next_tier
FROM unnest($3::text[]) AS l (league) CROSS JOIN LATERAL (
    SELECT * FROM league_members m
    WHERE m.project_id = $1 AND m.league = l.league AND m.user_id = $2 ORDER BY m.week DESC LIMIT $4::integer) AS m;

-- name: cohort
-- The members of one cohort. $1 project, $2 league, $3 week, $4 zone, $5 tier, $6 cohort.
SELECT m.user_id, u.external_id, u.display_name, m.score, m.reached_at, u.blocked_at IS NOT NULL AS blocked
FROM league_members m JOIN users u ON u.project_id = m.project_id AND u.id = m.user_id
WHERE m.project_id = $1 AND m.league = $2 AND m.week = $3 AND m.zone = $4 AND m.tier = $5 AND m.cohort = $6;
