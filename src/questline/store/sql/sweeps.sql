-- Sweeps: one event for each of many users.

-- name: start
-- $1 project, $2 id, $3 kind, $4 name, $5 program version, $6 payload, $7 at, $8 started by, $9 reason, $10 now, $11 users.
-- One that has finished begins again: those who had their event are not sent another, for its key is the same.
INSERT INTO sweeps AS s (project_id, id, kind, name, program_version, payload, at, started_by, reason, started_at, users)
VALUES ($1, $2, $3, $4, $5, $6::json, $7, $8, $9, $10, $11)
ON CONFLICT ON CONSTRAINT sweeps_are_asked_for_once DO UPDATE SET
    after_user = CASE WHEN s.finished_at IS NULL THEN s.after_user ELSE 0 END,
    examined = CASE WHEN s.finished_at IS NULL THEN s.examined ELSE 0 END,
    users = CASE WHEN s.finished_at IS NULL THEN s.users ELSE excluded.users END,
    finished_at = NULL
RETURNING s.*;

-- name: find
-- $1 project, $2 kind, $3 name, $4 program version.
SELECT * FROM sweeps WHERE project_id = $1 AND kind = $2 AND name = $3 AND program_version = $4;

-- name: of_kind
-- Newest first. $1 project, $2 kind, $3 before this id, $4 limit.
SELECT * FROM sweeps WHERE project_id = $1 AND kind = $2 AND id < $3 ORDER BY id DESC LIMIT $4;

-- name: hold_next
-- Of those under way, of whichever project, the one that has come least far and that nobody else holds: they take turns.
-- $1 those that are passed by.
SELECT * FROM sweeps WHERE finished_at IS NULL AND id <> ALL($1::uuid[])
ORDER BY examined, started_at, id LIMIT 1 FOR UPDATE SKIP LOCKED;

-- name: advance
-- $1 project, $2 id, $3 the last user looked at, $4 users looked at and $5 events sent in this batch, $6 now, if it is over.
UPDATE sweeps SET after_user = $3, examined = examined + $4, sent = sent + $5, finished_at = $6
WHERE project_id = $1 AND id = $2;

-- name: count_users
-- $1 project.
SELECT count(*) FROM users WHERE project_id = $1;

-- name: users_after
-- $1 project, $2 after this user, $3 limit.
SELECT id, project_id, external_id, attributes, display_name, timezone, zone_history, blocked_at, parked
FROM users WHERE project_id = $1 AND id > $2 ORDER BY id LIMIT $3;

-- name: users_with_streaks_after
-- $1 project, $2 after this user, $3 limit, $4 streaks.
SELECT u.id, u.project_id, u.external_id, u.attributes, u.display_name, u.timezone, u.zone_history, u.blocked_at, u.parked
FROM (
    SELECT DISTINCT user_id FROM streaks
    WHERE project_id = $1 AND user_id > $2 AND streak = ANY($4::text[]) ORDER BY user_id LIMIT $3
) AS s
JOIN users u ON u.project_id = $1 AND u.id = s.user_id
ORDER BY u.id;
