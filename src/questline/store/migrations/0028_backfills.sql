-- A third mode of replays: events of the past are counted in a metric that came after them.

ALTER TABLE replays ADD COLUMN metric text COLLATE "C";
ALTER TABLE replays DROP CONSTRAINT replays_mode_is_known;
ALTER TABLE replays ADD CONSTRAINT replays_mode_is_known CHECK (mode IN ('republish', 'reprocess', 'backfill'));
ALTER TABLE replays ADD CONSTRAINT replays_backfill_a_metric CHECK ((mode = 'backfill') = (metric IS NOT NULL));
