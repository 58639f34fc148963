-- Messages to receivers outside: each is written with what it tells of, and sent until it is answered.
CREATE TABLE deliveries (
    project_id   integer NOT NULL,
    id           text COLLATE "C" NOT NULL,
    user_id      bigint NOT NULL,
    type         text COLLATE "C" NOT NULL,
    data         json NOT NULL,
    at           timestamptz NOT NULL,
    traceparent  text,
    status       text COLLATE "C" NOT NULL DEFAULT 'PENDING',
    tries        integer NOT NULL DEFAULT 0,
    due_at       timestamptz NOT NULL DEFAULT now(),
    owner        uuid,
    answer       text COLLATE "C",
    created_at   timestamptz NOT NULL DEFAULT now(),
    settled_at   timestamptz,
    CONSTRAINT deliveries_pk PRIMARY KEY (project_id, id),
    CONSTRAINT deliveries_status_is_known CHECK (status IN ('PENDING', 'DELIVERED', 'FAILED', 'CANCELLED')),
    CONSTRAINT deliveries_are_settled_once CHECK ((status = 'PENDING') = (settled_at IS NULL)),
    CONSTRAINT deliveries_settled_have_no_owner CHECK (status = 'PENDING' OR owner IS NULL),
    CONSTRAINT deliveries_tries_never_negative CHECK (tries >= 0)
) WITH (fillfactor = 80);
CREATE INDEX deliveries_due ON deliveries (project_id, due_at, id) WHERE status = 'PENDING';

GRANT SELECT, INSERT, UPDATE ON deliveries TO questline_service;
GRANT SELECT ON deliveries TO questline_tenant;

ALTER TABLE deliveries ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant_sees_its_project ON deliveries TO questline_tenant
    USING (project_id = current_project()) WITH CHECK (project_id = current_project());
CREATE POLICY service_sees_all ON deliveries TO questline_service USING (true) WITH CHECK (true);
