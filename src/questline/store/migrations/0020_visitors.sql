-- Visitors who are not known yet: their events wait until somebody says who they are.
CREATE TABLE anonymous_links (
    project_id    integer NOT NULL,
    anonymous_id  text COLLATE "C" NOT NULL,
    external_user text COLLATE "C" NOT NULL,          -- who it is: the first who was named stays
    linked_at     timestamptz NOT NULL,
    CONSTRAINT anonymous_links_pk PRIMARY KEY (project_id, anonymous_id)
);
CREATE TABLE anonymous_events (
    project_id       integer NOT NULL,
    anonymous_id     text COLLATE "C" NOT NULL,
    event_id         uuid NOT NULL,
    key_hash         bytea NOT NULL,                  -- 16 bytes: the dedupe key that the event will have
    content_hash     bytea NOT NULL,
    type             text COLLATE "C" NOT NULL,
    payload          json NOT NULL,
    occurred_at      timestamptz NOT NULL,
    received_at      timestamptz NOT NULL,
    idempotency_key  text NOT NULL,
    correlation_id   text,
    context          json,
    CONSTRAINT anonymous_events_pk PRIMARY KEY (project_id, anonymous_id, event_id),
    CONSTRAINT anonymous_events_wait_once UNIQUE (project_id, key_hash)
);

GRANT SELECT, INSERT ON anonymous_links TO questline_service;
GRANT SELECT, INSERT, DELETE ON anonymous_events TO questline_service;
GRANT SELECT ON anonymous_links, anonymous_events TO questline_tenant;

DO $$
DECLARE tenant_table text;
BEGIN
    FOREACH tenant_table IN ARRAY ARRAY['anonymous_links', 'anonymous_events']
    LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', tenant_table);
        EXECUTE format('CREATE POLICY tenant_sees_its_project ON %I TO questline_tenant '
                       'USING (project_id = current_project()) WITH CHECK (project_id = current_project())', tenant_table);
        EXECUTE format('CREATE POLICY service_sees_all ON %I TO questline_service USING (true) WITH CHECK (true)', tenant_table);
    END LOOP;
END $$;
