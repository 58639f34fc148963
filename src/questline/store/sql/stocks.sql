-- What all users of a project share: units taken of named rewards, store items and pools of coupons.

-- name: open
-- Rows of stocks that nobody has taken of yet. In the order of names, which everybody locks them in. $1 projects, $2 names.
INSERT INTO stocks (project_id, name)
SELECT project_id, name FROM unnest($1::integer[], $2::text[]) AS i (project_id, name) ORDER BY project_id, name
ON CONFLICT ON CONSTRAINT stocks_pk DO NOTHING;

-- name: lock
-- Lock stocks until the transaction ends, in one order for everybody, and return them. $1 projects, $2 names.
SELECT s.project_id, s.name, s.taken, s.added
FROM unnest($1::integer[], $2::text[]) AS i (project_id, name)
JOIN stocks s ON s.project_id = i.project_id AND s.name = i.name
ORDER BY s.project_id, s.name
FOR NO KEY UPDATE OF s;

-- name: look
-- $1 project, $2 names.
SELECT name, taken, added FROM stocks WHERE project_id = $1 AND name = ANY($2::text[]);

-- name: of_project
-- Every stock of a project that somebody took of or may take of. $1 project.
SELECT name, taken, added FROM stocks WHERE project_id = $1 ORDER BY name;

-- name: move
-- Add to what is taken: a sum and never an absolute write, so the constraints have the last word. $1 projects, $2 names,
-- $3 units, which are below zero where they are put back.
UPDATE stocks s SET taken = s.taken + i.units
FROM unnest($1::integer[], $2::text[], $3::bigint[]) AS i (project_id, name, units)
WHERE s.project_id = i.project_id AND s.name = i.name;
