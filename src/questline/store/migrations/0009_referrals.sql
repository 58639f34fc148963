-- Referral codes, who brought whom, and what orders paid.

-- Whose a referral code is. A user has one.
CREATE TABLE referral_codes (
    project_id  integer NOT NULL,
    code        text COLLATE "C" NOT NULL,            -- capitals and digits that nobody takes for one another
    user_id     bigint NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT referral_codes_pk PRIMARY KEY (project_id, code),
    CONSTRAINT referral_codes_are_one_a_user UNIQUE (project_id, user_id)
);

-- Who brought a user: once for ever.
CREATE TABLE referrals (
    project_id   integer NOT NULL,
    user_id      bigint NOT NULL,                     -- the friend
    referrer_id  bigint NOT NULL,
    at           timestamptz NOT NULL,
    status       text COLLATE "C" NOT NULL,           -- PENDING → QUALIFIED
    CONSTRAINT referrals_pk PRIMARY KEY (project_id, user_id),
    CONSTRAINT referrals_are_not_to_oneself CHECK (referrer_id <> user_id),
    CONSTRAINT referrals_status_is_known CHECK (status IN ('PENDING', 'QUALIFIED'))
);
CREATE INDEX referrals_by_referrer ON referrals (project_id, referrer_id, user_id);

-- What an order paid to the user who earned it: once, and taken back once.
CREATE TABLE commissions (
    project_id  integer NOT NULL,
    user_id     bigint NOT NULL,
    commission  text COLLATE "C" NOT NULL,            -- NAME:hash of the order
    amount      bigint NOT NULL,
    plan        text COLLATE "C" NOT NULL,            -- '' where the refund came first
    reversed    boolean NOT NULL,
    CONSTRAINT commissions_pk PRIMARY KEY (project_id, user_id, commission),
    CONSTRAINT commissions_are_not_negative CHECK (amount >= 0)
);

GRANT SELECT, INSERT, UPDATE ON referral_codes, referrals, commissions TO questline_service;
GRANT SELECT ON referral_codes, referrals, commissions TO questline_tenant;

DO $$
DECLARE
    tenant_table text;
BEGIN
    FOREACH tenant_table IN ARRAY ARRAY['referral_codes', 'referrals', 'commissions'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', tenant_table);
        EXECUTE format('CREATE POLICY tenant_sees_its_project ON %I TO questline_tenant '
                       'USING (project_id = current_project()) WITH CHECK (project_id = current_project())', tenant_table);
        EXECUTE format('CREATE POLICY service_sees_all ON %I TO questline_service USING (true) WITH CHECK (true)', tenant_table);
    END LOOP;
END $$;
