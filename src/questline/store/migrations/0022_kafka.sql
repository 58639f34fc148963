-- Kafka as the carrier: how far each partition of the log has been taken in, and what could not be.
CREATE TABLE kafka_offsets (
    topic        text COLLATE "C" NOT NULL,
    partition    integer NOT NULL,
    next_offset  bigint NOT NULL,                     -- the first record whose event is not here yet
    current_at   timestamptz,                         -- what was written before this is here; NULL: nobody knows
    CONSTRAINT kafka_offsets_pk PRIMARY KEY (topic, partition),
    CONSTRAINT kafka_offsets_are_never_negative CHECK (next_offset >= 0)
) WITH (fillfactor = 50);
CREATE TABLE kafka_rejects (
    topic          text COLLATE "C" NOT NULL,
    partition      integer NOT NULL,
    record_offset  bigint NOT NULL,
    record_key     bytea,
    record_value   bytea,
    message        text NOT NULL,
    rejected_at    timestamptz NOT NULL,
    CONSTRAINT kafka_rejects_pk PRIMARY KEY (topic, partition, record_offset)
);

GRANT SELECT, INSERT, UPDATE ON kafka_offsets TO questline_service;
GRANT SELECT, INSERT, DELETE ON kafka_rejects TO questline_service;
