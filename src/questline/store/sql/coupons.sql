-- Codes of coupons. Whoever draws, puts back or uploads has locked the row of the pool in `stocks` before.

-- name: grow
-- Count codes that were uploaded to a pool; it locks the pool. $1 project, $2 the stock's name, $3 codes.
INSERT INTO stocks (project_id, name, added) VALUES ($1, $2, $3)
ON CONFLICT ON CONSTRAINT stocks_pk DO UPDATE SET added = stocks.added + excluded.added
RETURNING added, taken;

-- name: add
-- Upload codes; those that are there already are left as they are. $1 project, $2 pool, $3 codes in their order.
INSERT INTO coupons (project_id, pool, code)
SELECT $1::integer, $2::text, code FROM unnest($3::text[]) WITH ORDINALITY AS i (code, place) ORDER BY place
ON CONFLICT ON CONSTRAINT coupons_pk DO NOTHING
RETURNING 1;

-- name: counts
-- $1 project, $2 the stock's name.
SELECT added, taken FROM stocks WHERE project_id = $1 AND name = $2;

-- name: return
-- Free the codes of these holders. $1 projects, $2 holders.
UPDATE coupons c SET holder = NULL
FROM unnest($1::integer[], $2::text[]) AS i (project_id, holder)
WHERE c.project_id = i.project_id AND c.holder = i.holder AND c.shown_by IS NULL;

-- name: draw
-- Give each holder a free code of a pool, the oldest first, and return the holders that got one. $1 projects, $2 pools,
-- $3 holders.
WITH wanted AS (
    SELECT project_id, pool, holder, row_number() OVER (PARTITION BY project_id, pool ORDER BY place) AS number
    FROM unnest($1::integer[], $2::text[], $3::text[]) WITH ORDINALITY AS i (project_id, pool, holder, place)
), free AS (
    SELECT p.project_id, p.pool, f.code, row_number() OVER (PARTITION BY p.project_id, p.pool ORDER BY f.seq) AS number
    FROM (SELECT project_id, pool, count(*) AS codes FROM wanted GROUP BY project_id, pool) AS p
    CROSS JOIN LATERAL (
        SELECT c.code, c.seq FROM coupons c
        WHERE c.project_id = p.project_id AND c.pool = p.pool AND c.holder IS NULL
        ORDER BY c.seq LIMIT p.codes FOR UPDATE SKIP LOCKED) AS f
)
UPDATE coupons c SET holder = w.holder
FROM wanted w
JOIN free f ON f.project_id = w.project_id AND f.pool = w.pool AND f.number = w.number
WHERE c.project_id = f.project_id AND c.pool = f.pool AND c.code = f.code
RETURNING c.holder;

-- name: show
-- Note which event told the codes of these holders. $1 projects, $2 holders, $3 events.
UPDATE coupons c SET shown_by = i.event_id
FROM unnest($1::integer[], $2::text[], $3::uuid[]) AS i (project_id, holder, event_id)
WHERE c.project_id = i.project_id AND c.holder = i.holder AND c.shown_by IS NULL;

-- name: shown
-- The codes that these events told. $1 projects, $2 events.
SELECT c.shown_by, c.pool, c.holder, c.code
FROM unnest($1::integer[], $2::uuid[]) AS i (project_id, event_id)
JOIN coupons c ON c.project_id = i.project_id AND c.shown_by = i.event_id
ORDER BY c.shown_by, c.seq;
