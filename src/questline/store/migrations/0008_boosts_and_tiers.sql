-- Boosts that rewards give to one user, and the steps of tiers.

-- Personal boosts: until when one holds.
CREATE TABLE boosts (
    project_id  integer NOT NULL,
    user_id     bigint NOT NULL,
    boost       text COLLATE "C" NOT NULL,
    until       timestamptz NOT NULL,
    CONSTRAINT boosts_pk PRIMARY KEY (project_id, user_id, boost)
) WITH (fillfactor = 80);

-- The step a user stands on, by place in the program's list of steps.
CREATE TABLE tiers (
    project_id  integer NOT NULL,
    user_id     bigint NOT NULL,
    tier        text COLLATE "C" NOT NULL,
    step        smallint NOT NULL,
    best        smallint NOT NULL,                    -- the highest ever: its rewards are paid
    earned      bigint NOT NULL,                      -- of the currency, since the tiers began
    CONSTRAINT tiers_pk PRIMARY KEY (project_id, user_id, tier),
    CONSTRAINT tiers_best_is_best CHECK (best >= step AND step >= 0)
) WITH (fillfactor = 80);

GRANT SELECT, INSERT, UPDATE ON boosts, tiers TO questline_service;
GRANT SELECT ON boosts, tiers TO questline_tenant;

DO $$
DECLARE
    tenant_table text;
BEGIN
    FOREACH tenant_table IN ARRAY ARRAY['boosts', 'tiers'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', tenant_table);
        EXECUTE format('CREATE POLICY tenant_sees_its_project ON %I TO questline_tenant '
                       'USING (project_id = current_project()) WITH CHECK (project_id = current_project())', tenant_table);
        EXECUTE format('CREATE POLICY service_sees_all ON %I TO questline_service USING (true) WITH CHECK (true)', tenant_table);
    END LOOP;
END $$;
