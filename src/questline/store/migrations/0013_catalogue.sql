-- The event catalogue: what the edge must know of it, how events were authenticated, which types came; and replies kept under
-- idempotency keys.

ALTER TABLE projects
    ADD COLUMN trusted_types text[] NOT NULL DEFAULT '{}',   -- event types that the program in force leaves to servers
    ADD COLUMN known_types text[];                           -- the only ones it takes; NULL: it takes all
UPDATE projects p SET trusted_types = found.types
FROM (
    SELECT v.project_id, v.version, array_agg(t.key) AS types
    FROM program_versions v CROSS JOIN LATERAL json_each(v.document -> 'eventTypes') AS t
    WHERE json_typeof(v.document -> 'eventTypes') = 'object' AND t.value ->> 'trusted' = 'true'
    GROUP BY v.project_id, v.version
) AS found
WHERE found.project_id = p.id AND found.version = p.program_version;

-- A new version is announced to those who remember projects where it takes other types.
CREATE FUNCTION announce_types() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('questline_access', 'project ' || NEW.id);
    RETURN NULL;
END $$;
CREATE TRIGGER projects_announce_types AFTER UPDATE OF trusted_types, known_types ON projects
    FOR EACH ROW WHEN ((OLD.trusted_types, OLD.known_types) IS DISTINCT FROM (NEW.trusted_types, NEW.known_types))
    EXECUTE FUNCTION announce_types();

ALTER TABLE events ADD COLUMN sent_with text COLLATE "C";    -- publishable: with a key that anybody may have; NULL: by a server

-- Event types that came, whether or not the program names them. Counted in memory and added up now and then.
CREATE TABLE event_types (
    project_id     integer NOT NULL,
    type           text COLLATE "C" NOT NULL,
    first_seen_at  timestamptz NOT NULL,
    last_seen_at   timestamptz NOT NULL,
    events         bigint NOT NULL,                   -- at least so many were applied
    samples        uuid[] NOT NULL,                   -- the latest of them, the newest first; payloads stay in `events`
    CONSTRAINT event_types_pk PRIMARY KEY (project_id, type)
);

-- What requests under an idempotency key were answered, stored in the transaction of what they changed.
CREATE TABLE kept_replies (
    project_id    integer NOT NULL,                   -- 0: the request was for no project
    key_hash      bytea NOT NULL,                     -- 16 bytes: the caller and the key
    request_hash  bytea NOT NULL,                     -- 16 bytes: method, path, query and body
    status        smallint NOT NULL,
    headers       json NOT NULL,                      -- [[name, value], ...]
    body          bytea,                              -- NULL: it showed a secret, or was too large
    kept_at       timestamptz NOT NULL,
    CONSTRAINT kept_replies_pk PRIMARY KEY (project_id, key_hash)
);
CREATE INDEX kept_replies_by_age ON kept_replies (kept_at);

GRANT SELECT, INSERT, UPDATE ON event_types TO questline_service;
GRANT SELECT ON event_types TO questline_tenant;
GRANT SELECT, INSERT, DELETE ON kept_replies TO questline_service;

DO $$
DECLARE
    tenant_table text;
BEGIN
    FOREACH tenant_table IN ARRAY ARRAY['event_types', 'kept_replies'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', tenant_table);
        EXECUTE format('CREATE POLICY tenant_sees_its_project ON %I TO questline_tenant '
                       'USING (project_id = current_project()) WITH CHECK (project_id = current_project())', tenant_table);
        EXECUTE format('CREATE POLICY service_sees_all ON %I TO questline_service USING (true) WITH CHECK (true)', tenant_table);
    END LOOP;
END $$;
