-- Quests: one row a user and quest, the latest run.

-- A user's latest run of a quest. The ways from one status to another are the table in engine/quest_states.py.
CREATE TABLE quests (
    project_id  integer NOT NULL,
    user_id     bigint NOT NULL,
    quest       text COLLATE "C" NOT NULL,
    status      text COLLATE "C" NOT NULL,            -- NOT_STARTED → IN_PROGRESS → COMPLETED | FAILED | EXPIRED
    times       integer NOT NULL,                     -- how often it was completed, this run included
    period      integer NOT NULL,                     -- of a repeating one: the number of its day, week or month; else 0
    started_at  timestamptz,
    deadline    timestamptz,                          -- when its time is over; NULL: never
    ended_at    timestamptz,
    progress    json NOT NULL,                        -- {done: [step, ...], counts: {step: events}, since: {kind:name: from where}}
    CONSTRAINT quests_pk PRIMARY KEY (project_id, user_id, quest),
    CONSTRAINT quests_status_is_known CHECK (status IN ('NOT_STARTED', 'IN_PROGRESS', 'COMPLETED', 'FAILED', 'EXPIRED')),
    CONSTRAINT quests_begin_before_they_end CHECK (ended_at IS NULL OR started_at IS NOT NULL),
    CONSTRAINT quests_times_are_counted CHECK (times >= 0 AND (status <> 'COMPLETED' OR times > 0))
) WITH (fillfactor = 80);
CREATE INDEX quests_by_deadline ON quests (deadline, project_id, user_id, quest) WHERE status = 'IN_PROGRESS';

GRANT SELECT, INSERT, UPDATE ON quests TO questline_service;
GRANT SELECT ON quests TO questline_tenant;

DO $$
DECLARE
    tenant_table text;
BEGIN
    FOREACH tenant_table IN ARRAY ARRAY['quests'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', tenant_table);
        EXECUTE format('CREATE POLICY tenant_sees_its_project ON %I TO questline_tenant '
                       'USING (project_id = current_project()) WITH CHECK (project_id = current_project())', tenant_table);
        EXECUTE format('CREATE POLICY service_sees_all ON %I TO questline_service USING (true) WITH CHECK (true)', tenant_table);
    END LOOP;
END $$;
