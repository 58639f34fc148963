-- Quests whose time is over; see processing/quest_ends.py.

-- name: due
-- Runs under way whose deadline has passed, in order of deadline, after a place in that order.
-- $1 now, $2 limit, $3 deadline, $4 project, $5 user and $6 quest of the place.
SELECT q.deadline, q.project_id, q.user_id, q.quest, u.external_id, q.started_at
FROM quests q
JOIN users u ON u.id = q.user_id AND u.project_id = q.project_id
WHERE q.status = 'IN_PROGRESS' AND q.deadline <= $1
    AND (q.deadline, q.project_id, q.user_id, q.quest) > ($3::timestamptz, $4::integer, $5::bigint, $6::text)
ORDER BY q.deadline, q.project_id, q.user_id, q.quest
LIMIT $2;
