-- What a listening connection asks.

-- name: probe
-- Does the connection live?
SELECT 1;
