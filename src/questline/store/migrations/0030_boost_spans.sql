-- Personal boosts have a beginning, so that late events from before it are not multiplied.

ALTER TABLE boosts ADD COLUMN since timestamptz;  -- null: as long before `until` as the boost lasts; an old row
ALTER TABLE boosts ADD COLUMN earlier json NOT NULL DEFAULT '[]';

-- One that holds now may have been prolonged, and then as long ago as it lasts lies ahead: it goes on, from now.
UPDATE boosts SET since = now(), earlier = json_build_array(json_build_array(now(), until)) WHERE until > now();
