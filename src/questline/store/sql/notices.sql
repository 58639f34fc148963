-- name: of_user
-- A user's notices, newest events first, each event's in their order. A page ends with a whole event.
-- $1 project, $2 user, $3 before this event id, $4 limit.
SELECT event_id, ordinal, type, data, at FROM (
    SELECT * FROM notices
    WHERE project_id = $1 AND user_id = $2 AND event_id < $3
    ORDER BY event_id DESC
    FETCH FIRST $4 ROWS WITH TIES
) AS page
ORDER BY event_id DESC, ordinal;

-- name: unlocks
-- Unlocks of one achievement, newest first. $1 project, $2 user, $3 before this event id, $4 achievement, $5 limit.
SELECT event_id, type, data, at FROM notices
WHERE project_id = $1 AND user_id = $2 AND event_id < $3 AND type = 'achievement.unlocked' AND data->>'achievement' = $4
ORDER BY event_id DESC
LIMIT $5;
