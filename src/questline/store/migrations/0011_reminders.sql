-- Reminders of streaks at risk.

-- How far the reminders of a streak have come, on the latest day of each zone.
CREATE TABLE reminders (
    project_id  integer NOT NULL,
    streak      text COLLATE "C" NOT NULL,
    zone        text COLLATE "C" NOT NULL,            -- '' for users without one of their own
    day         integer NOT NULL,                     -- the local date's number
    after_user  bigint NOT NULL DEFAULT 0,            -- all users up to this one are done
    done        boolean NOT NULL DEFAULT false,
    CONSTRAINT reminders_pk PRIMARY KEY (project_id, streak, zone)
);
CREATE INDEX users_by_zone ON users (project_id, timezone) WHERE timezone IS NOT NULL;

GRANT SELECT, INSERT, UPDATE ON reminders TO questline_service;
GRANT SELECT ON reminders TO questline_tenant;

ALTER TABLE reminders ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant_sees_its_project ON reminders TO questline_tenant
    USING (project_id = current_project()) WITH CHECK (project_id = current_project());
CREATE POLICY service_sees_all ON reminders TO questline_service USING (true) WITH CHECK (true);
