-- Leases lie with workers, no longer with their lanes; and the records of the daily loop: vitals, items, check-ins, notices.

DROP TABLE lanes;
CREATE TABLE workers (
    owner       uuid NOT NULL,
    expires_at  timestamptz NOT NULL,
    CONSTRAINT workers_pk PRIMARY KEY (owner)
);
DELETE FROM partition_leases;

-- Bounded counters, as of `at`; what regenerated since is worked out by whoever reads them.
CREATE TABLE vitals (
    project_id  integer NOT NULL,
    user_id     bigint NOT NULL,
    vital       text COLLATE "C" NOT NULL,
    value       bigint NOT NULL,
    at          timestamptz NOT NULL,
    CONSTRAINT vitals_pk PRIMARY KEY (project_id, user_id, vital)
) WITH (fillfactor = 80);

-- What users hold: units of an item, in lots that expire together.
CREATE TABLE items (
    project_id  integer NOT NULL,
    user_id     bigint NOT NULL,
    item        text COLLATE "C" NOT NULL,
    units       integer NOT NULL,                     -- of all lots, expired ones that nobody has touched since included
    lots        json NOT NULL,                        -- [[units, expires at or null], ...], the first to expire first
    used_at     timestamptz,                          -- the last use, for cooldowns
    CONSTRAINT items_pk PRIMARY KEY (project_id, user_id, item),
    CONSTRAINT items_never_negative CHECK (units >= 0)
) WITH (fillfactor = 80);

-- One row a calendar day on which a user checked in: there is no second.
CREATE TABLE check_ins (
    project_id  integer NOT NULL,
    user_id     bigint NOT NULL,
    day         integer NOT NULL,                     -- the local date's number, see model/calendar.py
    at          timestamptz NOT NULL,
    CONSTRAINT check_ins_are_once_a_day PRIMARY KEY (project_id, user_id, day)
);

-- Facts for every outward channel: a level raised, an achievement unlocked, an item bought. Append-only.
CREATE TABLE notices (
    project_id  integer NOT NULL,
    event_id    uuid NOT NULL,                        -- the event that caused it
    ordinal     smallint NOT NULL,                    -- position within the event's decision
    user_id     bigint NOT NULL,
    type        text COLLATE "C" NOT NULL,            -- level.up, achievement.unlocked, ...
    data        json NOT NULL,
    at          timestamptz NOT NULL,                 -- the event's occurredAt
    CONSTRAINT notices_pk PRIMARY KEY (project_id, event_id, ordinal)
);
CREATE INDEX notices_by_user ON notices (project_id, user_id, event_id);

CREATE TRIGGER notices_are_append_only BEFORE UPDATE OR DELETE ON notices
    FOR EACH ROW EXECUTE FUNCTION refuse_change();

GRANT SELECT, INSERT, UPDATE, DELETE ON workers TO questline_service;
GRANT SELECT, INSERT, UPDATE ON vitals, items TO questline_service;
GRANT SELECT, INSERT ON check_ins, notices TO questline_service;
GRANT SELECT ON vitals, items, check_ins, notices TO questline_tenant;

DO $$
DECLARE
    tenant_table text;
BEGIN
    FOREACH tenant_table IN ARRAY ARRAY['vitals', 'items', 'check_ins', 'notices'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', tenant_table);
        EXECUTE format('CREATE POLICY tenant_sees_its_project ON %I TO questline_tenant '
                       'USING (project_id = current_project()) WITH CHECK (project_id = current_project())', tenant_table);
        EXECUTE format('CREATE POLICY service_sees_all ON %I TO questline_service USING (true) WITH CHECK (true)', tenant_table);
    END LOOP;
END $$;
