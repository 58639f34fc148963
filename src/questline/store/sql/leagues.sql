-- Leagues: scores of the week, seats in cohorts, results. Locks are taken in one order by everybody: users, weeks, tiers.
-- Plans are made once, maybe of empty tables, so each look-up is written to fit one index only.

-- name: add_scores
-- Fold changes into the scores of those who are in the week; a week with a result stays as it is. Returns the places, in
-- the arrays, of those who were found. The users are locked. Arrays: project, league, week, user, mode, points, at; $8 bound;
-- $9 rests (as on boards).
UPDATE league_members m SET
    score = CASE
        WHEN i.mode = 'set' THEN i.points
        WHEN i.mode = 'add' THEN least(greatest(m.score + i.points + (coalesce(m.rest, 0) + i.rest) / 1000000000, -$8::bigint), $8::bigint)
        ELSE greatest(m.score, i.points)
    END,
    rest = nullif(CASE WHEN i.mode = 'add' THEN (coalesce(m.rest, 0) + i.rest) % 1000000000 ELSE i.rest END, 0),
    reached_at = CASE
        WHEN i.mode = 'set' THEN i.at
        WHEN i.mode = 'add' THEN greatest(m.reached_at, i.at)
        WHEN i.points = m.score THEN least(m.reached_at, i.at)
        WHEN i.points > m.score THEN i.at
        ELSE m.reached_at
    END
FROM unnest($1::integer[], $2::text[], $3::integer[], $4::bigint[], $5::text[], $6::bigint[], $7::timestamptz[], $9::integer[])
    WITH ORDINALITY AS i (project_id, league, week, user_id, mode, points, at, rest, place)
WHERE m.project_id = i.project_id AND m.user_id = i.user_id AND m.league = i.league AND m.week = i.week AND m.outcome IS NULL
RETURNING i.place;

-- name: open_weeks
-- Weeks that somebody scores in for the first time. Arrays: project, league, week, zone, closes at.
INSERT INTO league_weeks (project_id, league, week, zone, closes_at)
SELECT DISTINCT * FROM unnest($1::integer[], $2::text[], $3::integer[], $4::text[], $5::timestamptz[]) ORDER BY 1, 2, 3, 4
ON CONFLICT ON CONSTRAINT league_weeks_are_unique DO NOTHING;

-- name: hold_weeks
-- Of these weeks those that are open; they stay open until the transaction ends. Arrays: project, league, week, zone.
SELECT w.project_id, w.league, w.week, w.zone, w.id
FROM unnest($1::integer[], $2::text[], $3::integer[], $4::text[]) AS i (project_id, league, week, zone)
JOIN league_weeks w ON w.project_id = i.project_id AND w.league = i.league AND w.week = i.week AND w.zone = i.zone
WHERE w.closed_at IS NULL
ORDER BY w.id
FOR SHARE OF w;

-- name: join
-- Put users into weeks, without a seat yet; those who are in this week or a later one are left out.
-- Arrays: project, user, league, week, its number, score, reached at, rest.
INSERT INTO league_members (project_id, user_id, league, week, league_week, score, reached_at, rest)
SELECT i.* FROM unnest($1::integer[], $2::bigint[], $3::text[], $4::integer[], $5::integer[], $6::bigint[], $7::timestamptz[],
    $8::integer[]) AS i (project_id, user_id, league, week, league_week, score, reached_at, rest)
WHERE NOT EXISTS (
    SELECT FROM league_members m
    WHERE m.project_id = i.project_id AND m.user_id = i.user_id AND m.league = i.league AND m.week >= i.week)
ORDER BY 1, 2, 3, 4;

-- name: seat
-- Seat those of the users who are in a week without a seat and whose week before, if there is one, has its result: it says
-- their tier; newcomers begin in the lowest. Seats are numbered on from the tier's open cohort, whose row is locked.
-- Arrays: project, user, league, size of cohorts, highest tier. The coalesce keeps a search for all without a seat away.
WITH waiting AS MATERIALIZED (
    SELECT m.project_id, m.user_id, m.league, m.week, m.league_week, m.reached_at, i.size,
        CASE WHEN b.week IS NULL THEN 1 ELSE least(b.next_tier, i.top) END::smallint AS tier
    FROM (SELECT DISTINCT * FROM unnest($1::integer[], $2::bigint[], $3::text[], $4::integer[], $5::smallint[]))
        AS i (project_id, user_id, league, size, top)
    JOIN league_members m ON m.project_id = i.project_id AND m.user_id = i.user_id AND m.league = i.league
    LEFT JOIN LATERAL (
        SELECT e.week, e.next_tier FROM league_members e
        WHERE e.project_id = m.project_id AND e.user_id = m.user_id AND e.league = m.league AND e.week < m.week
        ORDER BY e.week DESC LIMIT 1) AS b ON true
    WHERE coalesce(m.cohort, -1) = -1 AND m.outcome IS NULL AND (b.week IS NULL OR b.next_tier IS NOT NULL)
), numbered AS MATERIALIZED (
    SELECT *, row_number() OVER (in_order ORDER BY reached_at, user_id) AS seat, count(*) OVER in_order AS seats
    FROM waiting
    WINDOW in_order AS (PARTITION BY project_id, league_week, tier)
), counted AS (
    INSERT INTO league_tiers AS c (project_id, league_week, tier, cohort, members, size)
    SELECT DISTINCT project_id, league_week, tier, ((seats - 1) / size)::integer, ((seats - 1) % size + 1)::integer, size
    FROM numbered ORDER BY 1, 2, 3
    ON CONFLICT ON CONSTRAINT league_tiers_pk DO UPDATE SET (cohort, members, size) = (
        SELECT last / excluded.size, last % excluded.size + 1, excluded.size
        FROM (SELECT (c.cohort + excluded.cohort) * excluded.size + least(c.members, excluded.size) + excluded.members - 1 AS last) AS s)
    RETURNING project_id, league_week, tier, cohort, members
)
UPDATE league_members m SET tier = n.tier, cohort = (c.cohort * n.size + c.members - 1 - n.seats + n.seat) / n.size
FROM numbered n JOIN counted c USING (project_id, league_week, tier)
WHERE m.project_id = n.project_id AND m.user_id = n.user_id AND m.league = n.league AND m.week = n.week;

-- name: due
-- Weeks of all projects that are to be closed or settled, the oldest first. $1 now.
SELECT project_id, id, league, week, zone, closes_at, closed_at
FROM league_weeks
WHERE settled_at IS NULL AND closes_at <= $1
ORDER BY closes_at, id;

-- name: close
-- Close a week, after those who are joining it. $1 project, $2 week's number, $3 now.
UPDATE league_weeks SET closed_at = $3 WHERE project_id = $1 AND id = $2 AND closed_at IS NULL;

-- name: somebody_waits
-- Whether a member of the week still waits for a seat. $1 project, $2 week's number.
SELECT EXISTS (SELECT FROM league_members WHERE project_id = $1 AND league_week = $2 AND tier IS NULL);

-- name: hold_progress
-- A closed week that is being settled, locked until the transaction ends; no row where another worker has it, or it is done.
-- $1 project, $2 week's number.
SELECT done_tier, done_cohort, closed_at FROM league_weeks
WHERE project_id = $1 AND id = $2 AND closed_at IS NOT NULL AND settled_at IS NULL
FOR NO KEY UPDATE SKIP LOCKED;

-- name: next_members
-- Who is in the next cohorts. $1 project, $2 week's number, $3 last tier done, $4 last cohort of it, $5 limit.
SELECT m.tier, m.cohort, u.external_id
FROM league_members m JOIN users u ON u.id = m.user_id
WHERE m.project_id = $1 AND m.league_week = $2 AND (m.tier, m.cohort) > ($3::smallint, $4::integer)
ORDER BY m.tier, m.cohort
LIMIT $5::integer;

-- name: scores
-- The members of a range of cohorts with their scores. $1 project, $2 week's number, then (tier, cohort) after and up to: $3,
-- $4, $5, $6.
SELECT tier, cohort, user_id, score, reached_at
FROM league_members
WHERE project_id = $1 AND league_week = $2
    AND (tier, cohort) > ($3::smallint, $4::integer) AND (tier, cohort) <= ($5::smallint, $6::integer);

-- name: put_results
-- The results of members, written once. Arrays: project, user, league, week, rank, outcome, next tier.
UPDATE league_members m SET rank = i.rank, outcome = i.outcome, next_tier = i.next_tier
FROM unnest($1::integer[], $2::bigint[], $3::text[], $4::integer[], $5::integer[], $6::text[], $7::smallint[])
    AS i (project_id, user_id, league, week, rank, outcome, next_tier)
WHERE m.project_id = i.project_id AND m.user_id = i.user_id AND m.league = i.league AND m.week = i.week AND m.outcome IS NULL;

-- name: advance
-- Note how far a week is settled. $1 project, $2 week's number, $3 tier, $4 cohort.
UPDATE league_weeks SET done_tier = $3, done_cohort = $4 WHERE project_id = $1 AND id = $2;

-- name: settle
-- The week has all its results. $1 project, $2 week's number, $3 now.
UPDATE league_weeks SET settled_at = $3 WHERE project_id = $1 AND id = $2;

-- name: weeks_of_user
-- A user's latest weeks of each league, newest first. $1 project, $2 user, $3 leagues, $4 limit of each.
SELECT m.league, m.week, w.zone, m.league_week, m.tier, m.cohort, m.score, m.rank, m.outcome, m.next_tier
FROM unnest($3::text[]) AS l (league) CROSS JOIN LATERAL (
    SELECT * FROM league_members m
    WHERE m.project_id = $1 AND m.user_id = $2 AND m.league = l.league ORDER BY m.week DESC LIMIT $4::integer) AS m
JOIN league_weeks w ON w.id = m.league_week
ORDER BY m.league, m.week DESC;

-- name: week_of_user
-- A user's own week of a league. $1 project, $2 user, $3 league, $4 week.
SELECT m.league, m.week, w.zone, m.league_week, m.tier, m.cohort, m.score, m.rank, m.outcome, m.next_tier
FROM league_members m JOIN league_weeks w ON w.id = m.league_week
WHERE m.project_id = $1 AND m.user_id = $2 AND m.league = $3 AND m.week = $4;

-- name: cohort
-- The members of one cohort. $1 project, $2 week's number, $3 tier, $4 cohort.
SELECT m.user_id, u.external_id, u.display_name, m.score, m.reached_at, u.blocked_at IS NOT NULL AS blocked
FROM league_members m JOIN users u ON u.id = m.user_id
WHERE m.project_id = $1 AND m.league_week = $2 AND m.tier = $3 AND m.cohort = $4;
