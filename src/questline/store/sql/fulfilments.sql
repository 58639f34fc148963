-- Redemptions of the reward store as they are listed; the engine's loads and writes of them stand in records.sql.

-- name: page
-- Redemptions, newest first, with the codes they told and how far their messages are. $1 project, $2 before this id, $3 status or NULL, $4 customer's user
-- id or NULL, $5 limit.
SELECT u.external_id, c.code, d.status AS delivery, d.tries, d.answer, d.due_at, d.owner IS NOT NULL AS under_way,
       f.fulfilment_id, f.item, f.method, f.status, f.price, f.at, f.settled_at, f.note, f.holds, f.limited
FROM fulfilments f
JOIN users u ON u.project_id = f.project_id AND u.id = f.user_id
LEFT JOIN coupons c ON c.project_id = f.project_id AND c.holder = f.fulfilment_id
LEFT JOIN deliveries d ON d.project_id = f.project_id AND d.id = f.fulfilment_id
WHERE f.project_id = $1 AND f.fulfilment_id < $2 AND ($3::text IS NULL OR f.status = $3)
    AND ($4::text IS NULL
         OR f.user_id = (SELECT o.id FROM users o WHERE o.project_id = $1 AND o.external_id = $4))
ORDER BY f.fulfilment_id DESC
LIMIT $5;

-- name: owner
-- The customer's id of the user who redeemed. $1 project, $2 fulfilment.
SELECT u.external_id FROM fulfilments f JOIN users u ON u.project_id = f.project_id AND u.id = f.user_id
WHERE f.project_id = $1 AND f.fulfilment_id = $2;

-- name: prices
-- What redemptions cost, and whom. $1 projects, $2 fulfilments.
SELECT f.user_id, f.price
FROM unnest($1::integer[], $2::text[]) AS i (project_id, fulfilment_id)
JOIN fulfilments f ON f.project_id = i.project_id AND f.fulfilment_id = i.fulfilment_id;

-- name: delivery
-- How far the message about a redemption is; nobody changes it until the transaction ends. $1 project, $2 fulfilment.
SELECT status AS delivery, tries, answer, due_at, owner IS NOT NULL AS under_way FROM deliveries
WHERE project_id = $1 AND id = $2 FOR UPDATE;
