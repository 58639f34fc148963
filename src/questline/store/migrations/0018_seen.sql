-- The trace of a request goes with its events, and a worker says of which version it is.

ALTER TABLE events ADD COLUMN traceparent text COLLATE "C";  -- W3C Trace Context of the request that sent it; NULL: it is not traced
ALTER TABLE workers ADD COLUMN version text COLLATE "C";      -- of Questline; NULL: of before it was told
