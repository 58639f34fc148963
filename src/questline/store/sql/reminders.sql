-- Reminders of streaks at risk: which days of which zones are done, and whose runs have not been kept up.

-- name: projects
-- The projects whose program in force reminds of streaks. They are all tenants': the worker looks after each in turn.
SELECT p.id
FROM projects p JOIN program_versions v ON v.project_id = p.id AND v.version = p.program_version
WHERE jsonb_path_exists((v.document -> 'streaks')::jsonb, '$.*.remind')
ORDER BY p.id;

-- name: zones
-- The zones that users of a project have chosen, found by hopping from one to the next. $1 project.
WITH RECURSIVE zones AS (
    (SELECT timezone FROM users WHERE project_id = $1 AND timezone IS NOT NULL ORDER BY timezone LIMIT 1)
    UNION ALL
    SELECT (SELECT u.timezone FROM users u WHERE u.project_id = $1 AND u.timezone > z.timezone ORDER BY u.timezone LIMIT 1)
    FROM zones z WHERE z.timezone IS NOT NULL
)
SELECT timezone FROM zones WHERE timezone IS NOT NULL;

-- name: begin
-- Begin a day of a zone, unless it was begun. $1 project, $2 streak, $3 zone ('' for users without one), $4 day.
INSERT INTO reminders (project_id, streak, zone, day) VALUES ($1, $2, $3, $4)
ON CONFLICT ON CONSTRAINT reminders_pk DO UPDATE SET day = excluded.day, after_user = 0, done = false
    WHERE reminders.day < excluded.day;

-- name: hold
-- How far a day of a zone has come, locked until the transaction ends; no row: it is done, or another worker has it.
-- $1 project, $2 streak, $3 zone, $4 day.
SELECT after_user FROM reminders
WHERE project_id = $1 AND streak = $2 AND zone = $3 AND day = $4 AND NOT done
FOR UPDATE SKIP LOCKED;

-- name: users_at_risk
-- Users of a zone whose latest run was kept up on the day before, and not on this one. $1 project, $2 streak,
-- $3 zone ('' for users without one), $4 day, $5 length, $6 after this user, $7 limit.
SELECT s.user_id, u.external_id
FROM streaks s JOIN users u ON u.project_id = s.project_id AND u.id = s.user_id
WHERE s.project_id = $1 AND s.streak = $2 AND s.last_period < $4 AND s.last_period >= $4 - 40 AND s.length >= $5
    AND s.user_id > $6 AND coalesce(u.timezone, '') = $3 AND u.blocked_at IS NULL
ORDER BY s.user_id
LIMIT $7;

-- name: advance
-- Note how far a day of a zone has come. $1 project, $2 streak, $3 zone, $4 after this user, $5 whether it is done.
UPDATE reminders SET after_user = $4, done = $5 WHERE project_id = $1 AND streak = $2 AND zone = $3;
