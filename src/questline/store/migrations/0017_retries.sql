-- Events that failed are tried again: their users are parked meanwhile, and nobody else waits. Dead letters can be discarded,
-- and events replayed.

ALTER TABLE dead_letters
    ADD COLUMN discarded_at timestamptz,
    ADD COLUMN discarded_by text,
    ADD COLUMN discarded_for text,
    ADD CONSTRAINT dead_letters_are_discarded_by_somebody CHECK (
        (discarded_at IS NULL) = (discarded_by IS NULL) AND (discarded_at IS NULL) = (discarded_for IS NULL));
CREATE INDEX dead_letters_by_user ON dead_letters (project_id, user_hash);
ALTER TABLE users ADD COLUMN parked boolean NOT NULL DEFAULT false;

-- Events that wait outside the queue: those of parked users, and dead letters that were put back. A row leaves as one of
-- the queue does, in the transaction that applies (or dead-letters) its event.
CREATE TABLE retries (
    project_id  integer NOT NULL,
    event_id    uuid NOT NULL,
    user_hash   bigint NOT NULL,
    seq         bigint NOT NULL,                      -- its place in the queue that it left; 0: it was a dead letter
    CONSTRAINT retries_pk PRIMARY KEY (project_id, event_id)
);
CREATE INDEX retries_by_user ON retries (project_id, user_hash, seq, event_id);

-- Whose events those are, and when they are tried. As long as users.parked says so, later ones of the user join them.
CREATE TABLE parked_users (
    project_id  integer NOT NULL,
    user_hash   bigint NOT NULL,
    partition   smallint NOT NULL,
    event_id    uuid,                                 -- the event that failed; NULL: the next one is not known to fail
    tries       smallint NOT NULL,                    -- failed ones of it, since it was last queued
    reason      text COLLATE "C",
    message     text,
    since       timestamptz NOT NULL,
    due_at      timestamptz NOT NULL,
    CONSTRAINT parked_users_pk PRIMARY KEY (project_id, user_hash),
    CONSTRAINT parked_users_wait_for_an_event_that_failed CHECK ((tries = 0) = (event_id IS NULL))
);
CREATE INDEX parked_users_by_due ON parked_users (due_at);

-- Events that were asked to be replayed: how far each of these has come. The user is named by our id and hash alone.
CREATE TABLE replays (
    project_id       integer NOT NULL,
    id               uuid NOT NULL,
    mode             text COLLATE "C" NOT NULL,       -- republish | reprocess
    program_version  integer NOT NULL,                -- to reprocess under; 0 for what is only republished
    first_event      uuid NOT NULL,                   -- ids of events lie between these two, both included
    last_event       uuid NOT NULL,
    event_type       text COLLATE "C",                -- NULL: all
    user_id          bigint,                          -- NULL: all
    user_hash        bigint,                          -- NULL: all
    status           text COLLATE "C",                -- NULL: all
    events_max       bigint NOT NULL,                 -- the replay ends with so many events
    started_by       text NOT NULL,
    reason           text NOT NULL,
    started_at       timestamptz NOT NULL,
    finished_at      timestamptz,                     -- NULL: under way
    total            bigint NOT NULL,                 -- events or users to look at, as counted when it began
    after_event      uuid NOT NULL,                   -- all events up to this one have been looked at
    after_user       bigint NOT NULL DEFAULT 0,       -- all users up to this one have been looked at
    examined         bigint NOT NULL DEFAULT 0,       -- of the total
    events           bigint NOT NULL DEFAULT 0,       -- that were to be replayed
    changed          bigint NOT NULL DEFAULT 0,       -- of those: put back, or compensated
    CONSTRAINT replays_pk PRIMARY KEY (project_id, id),
    CONSTRAINT replays_mode_is_known CHECK (mode IN ('republish', 'reprocess'))
);
CREATE INDEX replays_under_way ON replays (started_at) WHERE finished_at IS NULL;

GRANT SELECT, INSERT, UPDATE, DELETE ON retries, parked_users TO questline_service;
GRANT SELECT ON retries, parked_users TO questline_tenant;
GRANT SELECT, INSERT, UPDATE ON replays TO questline_service;
GRANT SELECT ON replays TO questline_tenant;

DO $$
DECLARE
    tenant_table text;
BEGIN
    FOREACH tenant_table IN ARRAY ARRAY['retries', 'parked_users', 'replays'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', tenant_table);
        EXECUTE format('CREATE POLICY tenant_sees_its_project ON %I TO questline_tenant '
                       'USING (project_id = current_project()) WITH CHECK (project_id = current_project())', tenant_table);
        EXECUTE format('CREATE POLICY service_sees_all ON %I TO questline_service USING (true) WITH CHECK (true)', tenant_table);
    END LOOP;
END $$;
