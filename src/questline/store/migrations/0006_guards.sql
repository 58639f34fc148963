-- Guards: what they remember of users and of the values users share, suspicion, blocks, held events under review, and the
-- entries of blocked users, kept beside the boards until they return.

ALTER TABLE decisions DROP CONSTRAINT decisions_status_is_known;
ALTER TABLE decisions ADD CONSTRAINT decisions_status_is_known CHECK (status IN ('processed', 'refused', 'held'));
ALTER TABLE attempts DROP CONSTRAINT attempts_status_is_known;
ALTER TABLE attempts ADD CONSTRAINT attempts_status_is_known
    CHECK (status IN ('processed', 'refused', 'held', 'retried', 'failed'));

-- What a guard remembers of a user.
CREATE TABLE guard_marks (
    project_id  integer NOT NULL,
    user_id     bigint NOT NULL,
    guard       text COLLATE "C" NOT NULL,
    marks       json NOT NULL,                        -- [[milliseconds, hash or ""], ...] in the order of time; bounded
    value       numeric,                              -- the last value, of a `jump` guard
    CONSTRAINT guard_marks_pk PRIMARY KEY (project_id, user_id, guard)
) WITH (fillfactor = 80);

-- Which users bore one value (a device, an address, a fingerprint). Its row is locked while a batch looks at it, so that
-- two users who come at once see each other. No word of the customer's is in it.
CREATE TABLE sightings (
    project_id  integer NOT NULL,
    guard       text COLLATE "C" NOT NULL,
    value_hash  bytea NOT NULL,                       -- 16 bytes
    users       json NOT NULL,                        -- [[user id, milliseconds], ...] the latest last; bounded
    expires_at  timestamptz NOT NULL,                 -- from then on nothing is compared with it, and it is swept away
    CONSTRAINT sightings_pk PRIMARY KEY (project_id, guard, value_hash)
) WITH (fillfactor = 70);
CREATE INDEX sightings_by_expiry ON sightings (expires_at);

-- How suspect a user is, as of `at`; what has decayed since is worked out by whoever reads it.
CREATE TABLE suspicions (
    project_id  integer NOT NULL,
    user_id     bigint NOT NULL,
    score       integer NOT NULL,
    at          timestamptz NOT NULL,
    CONSTRAINT suspicions_pk PRIMARY KEY (project_id, user_id),
    CONSTRAINT suspicions_never_negative CHECK (score >= 0)
) WITH (fillfactor = 80);

-- Users who are or were blocked; users.blocked_at is set for as long as they are.
CREATE TABLE blocks (
    project_id  integer NOT NULL,
    user_id     bigint NOT NULL,
    blocked     boolean NOT NULL,
    hidden      boolean NOT NULL,                     -- their standing is off the boards, see board_hidden
    reason      text NOT NULL,                        -- the operator's, or the guard that did it
    at          timestamptz NOT NULL,
    CONSTRAINT blocks_pk PRIMARY KEY (project_id, user_id),
    CONSTRAINT blocks_hide_only_the_blocked CHECK (blocked OR NOT hidden)
);

-- Events that guards held. waiting → approved: applied by the event decided_by; waiting → denied: kept without effect.
CREATE TABLE reviews (
    project_id  integer NOT NULL,
    user_id     bigint NOT NULL,
    event_id    uuid NOT NULL,                        -- the held event
    status      text COLLATE "C" NOT NULL,            -- waiting | approved | denied
    at          timestamptz NOT NULL,                 -- the held event's occurredAt
    reason      text NOT NULL,                        -- the operator's
    decided_by  uuid,                                 -- the $approve or $deny
    CONSTRAINT reviews_pk PRIMARY KEY (project_id, event_id),
    CONSTRAINT reviews_status_is_known CHECK (status IN ('waiting', 'approved', 'denied')),
    CONSTRAINT reviews_are_decided_by_an_event CHECK ((status = 'waiting') = (decided_by IS NULL))
);
CREATE INDEX reviews_by_status ON reviews (project_id, status, event_id);

-- Entries of users whose standing was removed, as they were; they return when the users are unblocked.
CREATE TABLE board_hidden (
    project_id    integer NOT NULL,
    board_period  integer NOT NULL,
    user_id       bigint NOT NULL,
    lead          bigint NOT NULL,
    reached_at    timestamptz NOT NULL,
    CONSTRAINT board_hidden_pk PRIMARY KEY (project_id, user_id, board_period)
);

GRANT SELECT, INSERT, UPDATE ON guard_marks, suspicions, blocks, reviews TO questline_service;
GRANT SELECT, INSERT, UPDATE, DELETE ON sightings, board_hidden TO questline_service;
GRANT UPDATE (status, reason) ON decisions TO questline_service;
GRANT SELECT ON guard_marks, suspicions, blocks, reviews, sightings TO questline_tenant;

DO $$
DECLARE
    tenant_table text;
BEGIN
    FOREACH tenant_table IN ARRAY ARRAY['guard_marks', 'sightings', 'suspicions', 'blocks', 'reviews', 'board_hidden'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', tenant_table);
        EXECUTE format('CREATE POLICY tenant_sees_its_project ON %I TO questline_tenant '
                       'USING (project_id = current_project()) WITH CHECK (project_id = current_project())', tenant_table);
        EXECUTE format('CREATE POLICY service_sees_all ON %I TO questline_service USING (true) WITH CHECK (true)', tenant_table);
    END LOOP;
END $$;
