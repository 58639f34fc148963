-- Which topic the offsets are of: one that is deleted and made anew under the same name begins with offset 0 again.
ALTER TABLE kafka_offsets ADD COLUMN topic_id text COLLATE "C";
