-- Where a broker carries events: what a relay does with the rows of the queue. NULL for all that no relay has touched.
ALTER TABLE outbox
    ADD COLUMN relay_state text COLLATE "C",
    ADD COLUMN relay_owner uuid,
    ADD COLUMN relay_at timestamptz,
    ADD CONSTRAINT outbox_is_relayed_in_steps CHECK (
        relay_state IS NULL OR (relay_state IN ('in_flight', 'published', 'failed') AND relay_at IS NOT NULL));

-- Dead letters are mirrored to the broker from committed rows.
ALTER TABLE dead_letters ADD COLUMN mirrored_at timestamptz;
CREATE INDEX dead_letters_to_mirror ON dead_letters (failed_at) WHERE mirrored_at IS NULL AND discarded_at IS NULL;
