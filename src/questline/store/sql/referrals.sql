-- name: code_of
-- A user's code. $1 project, $2 user.
SELECT code FROM referral_codes WHERE project_id = $1 AND user_id = $2;

-- name: add_code
-- Give a user a code, unless the code is somebody's or the user has one. $1 project, $2 user, $3 code.
INSERT INTO referral_codes (project_id, user_id, code) VALUES ($1, $2, $3)
ON CONFLICT DO NOTHING;

-- name: friends
-- Whom a user brought, by internal id. $1 project, $2 referrer, $3 after this user, $4 limit.
SELECT r.user_id, u.external_id, r.at, r.status
FROM referrals r JOIN users u ON u.project_id = r.project_id AND u.id = r.user_id
WHERE r.project_id = $1 AND r.referrer_id = $2 AND r.user_id > $3
ORDER BY r.user_id
LIMIT $4;

-- name: summary
-- Who brought a user, how many they brought, how many of these counted. $1 project, $2 user.
SELECT (SELECT u.external_id FROM referrals r JOIN users u ON u.project_id = r.project_id AND u.id = r.referrer_id
        WHERE r.project_id = $1 AND r.user_id = $2) AS referrer,
       count(*) AS brought, count(*) FILTER (WHERE status = 'QUALIFIED') AS qualified
FROM referrals WHERE project_id = $1 AND referrer_id = $2;

-- name: earners
-- Who earned commissions: paid and not taken back, or sent and perhaps not applied yet. A buyer's row of a refund that came
-- first is reversed, and so names nobody. $1 projects, $2 commissions with their orders, $3 the hashed keys of their events.
SELECT i.project_id, i.name, earner.user_id
FROM unnest($1::integer[], $2::text[], $3::bytea[]) AS i (project_id, name, key_hash)
CROSS JOIN LATERAL (
    SELECT u.external_id AS user_id
    FROM commissions c JOIN users u ON u.project_id = c.project_id AND u.id = c.user_id
    WHERE c.project_id = i.project_id AND c.commission = i.name AND NOT c.reversed
    UNION ALL
    SELECT e.external_user
    FROM dedupe_keys d JOIN events e ON e.project_id = d.project_id AND e.id = d.event_id
    WHERE d.project_id = i.project_id AND d.key_hash = i.key_hash
    LIMIT 1
) AS earner;

-- name: paid
-- The currencies of commissions that were not taken back yet. $1 projects, $2 commissions with their orders.
SELECT c.user_id, c.currency
FROM unnest($1::integer[], $2::text[]) AS i (project_id, name)
JOIN commissions c ON c.project_id = i.project_id AND c.commission = i.name AND NOT c.reversed
WHERE c.currency <> '';
