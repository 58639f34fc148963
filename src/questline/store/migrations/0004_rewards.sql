-- Named rewards: grants, badges, allowances, the reward store's fulfilments, stocks and coupons; and debts beside balances.

ALTER TABLE balances ADD COLUMN debt bigint NOT NULL DEFAULT 0;  -- owed after a clawback; what is credited pays it off first
ALTER TABLE balances ADD CONSTRAINT balances_debt_is_never_negative CHECK (debt >= 0);

-- One grant of a named reward to a user.
CREATE TABLE grants (
    project_id   integer NOT NULL,
    user_id      bigint NOT NULL,
    grant_id     text COLLATE "C" NOT NULL,           -- the causing event's id and a number
    reward       text COLLATE "C" NOT NULL,
    status       text COLLATE "C" NOT NULL,           -- PENDING → CLAIMED | EXPIRED | REVOKED, CLAIMED → REVOKED
    cause        text COLLATE "C" NOT NULL,           -- as in transfers.rule
    at           timestamptz NOT NULL,                -- the causing event's occurredAt
    expires_at   timestamptz,                         -- of a pending one; read it before the status
    settled_at   timestamptz,                         -- when it was claimed, expired or was revoked
    holds        json NOT NULL,                       -- the stocks it has a unit of
    limited      boolean NOT NULL,                    -- it counts towards the user's allowance
    given        json NOT NULL,                       -- what its claim gave: [{kind, name, units}, ...]
    expiry_sent  boolean NOT NULL DEFAULT false,      -- the event that expires it is on its way
    CONSTRAINT grants_pk PRIMARY KEY (project_id, grant_id),
    CONSTRAINT grants_status_is_known CHECK (status IN ('PENDING', 'CLAIMED', 'EXPIRED', 'REVOKED')),
    CONSTRAINT grants_are_settled_once CHECK ((status = 'PENDING') = (settled_at IS NULL))
) WITH (fillfactor = 80);
CREATE INDEX grants_by_user ON grants (project_id, user_id, grant_id);
CREATE INDEX grants_by_expiry ON grants (expires_at) WHERE status = 'PENDING' AND NOT expiry_sent;

CREATE TABLE badges (
    project_id  integer NOT NULL,
    user_id     bigint NOT NULL,
    badge       text COLLATE "C" NOT NULL,
    at          timestamptz NOT NULL,                 -- when it was first earned
    times       integer NOT NULL,                     -- grants of it that stand; 0: it was taken back
    CONSTRAINT badges_pk PRIMARY KEY (project_id, user_id, badge),
    CONSTRAINT badges_never_negative CHECK (times >= 0)
);

-- How much of a limited thing one user has taken.
CREATE TABLE allowances (
    project_id  integer NOT NULL,
    user_id     bigint NOT NULL,
    name        text COLLATE "C" NOT NULL,            -- reward:NAME | store:NAME
    units       integer NOT NULL,
    CONSTRAINT allowances_pk PRIMARY KEY (project_id, user_id, name),
    CONSTRAINT allowances_never_negative CHECK (units >= 0)
) WITH (fillfactor = 80);

-- One redemption in the reward store; its id is the redeeming event's.
CREATE TABLE fulfilments (
    project_id     integer NOT NULL,
    user_id        bigint NOT NULL,
    fulfilment_id  text COLLATE "C" NOT NULL,
    item           text COLLATE "C" NOT NULL,         -- of the store
    method         text COLLATE "C" NOT NULL,         -- webhook | code | manual
    status         text COLLATE "C" NOT NULL,         -- PENDING → FULFILLED | FAILED
    price          json NOT NULL,                     -- {currency: amount}: in escrow while pending
    at             timestamptz NOT NULL,              -- the redeeming event's occurredAt
    settled_at     timestamptz,
    note           text NOT NULL,                     -- a tracking number, or why it failed
    holds          json NOT NULL,                     -- the stocks it has a unit of
    limited        boolean NOT NULL,                  -- it counts towards the user's allowance
    CONSTRAINT fulfilments_pk PRIMARY KEY (project_id, fulfilment_id),
    CONSTRAINT fulfilments_method_is_known CHECK (method IN ('webhook', 'code', 'manual')),
    CONSTRAINT fulfilments_status_is_known CHECK (status IN ('PENDING', 'FULFILLED', 'FAILED')),
    CONSTRAINT fulfilments_are_settled_once CHECK ((status = 'PENDING') = (settled_at IS NULL))
) WITH (fillfactor = 80);
CREATE INDEX fulfilments_by_user ON fulfilments (project_id, user_id, fulfilment_id);
CREATE INDEX fulfilments_pending ON fulfilments (project_id, fulfilment_id) WHERE status = 'PENDING';

-- What all users of a project share. A batch locks the rows it may take of after its users, in the order of names.
CREATE TABLE stocks (
    project_id  integer NOT NULL,
    name        text COLLATE "C" NOT NULL,            -- reward:NAME | store:NAME | pool:NAME
    taken       bigint NOT NULL DEFAULT 0,            -- units given out; the bound of a reward or item is the program's
    added       bigint NOT NULL DEFAULT 0,            -- codes ever uploaded to a pool
    CONSTRAINT stocks_pk PRIMARY KEY (project_id, name),
    CONSTRAINT stocks_never_negative CHECK (taken >= 0),
    CONSTRAINT stocks_pools_are_never_oversold CHECK (name NOT LIKE 'pool:%' OR taken <= added)
) WITH (fillfactor = 50);

-- Codes, uploaded in bulk and drawn once each.
CREATE TABLE coupons (
    project_id  integer NOT NULL,
    pool        text COLLATE "C" NOT NULL,
    code        text COLLATE "C" NOT NULL,
    seq         bigint GENERATED ALWAYS AS IDENTITY,  -- the order they are drawn in
    holder      text COLLATE "C",                     -- the grant or fulfilment that has it; NULL: free
    shown_by    uuid,                                 -- the event that told it to the user; from then on it is spent
    CONSTRAINT coupons_pk PRIMARY KEY (project_id, pool, code)
) WITH (fillfactor = 80);
CREATE INDEX coupons_free ON coupons (project_id, pool, seq) WHERE holder IS NULL;
CREATE UNIQUE INDEX coupons_are_drawn_once ON coupons (project_id, holder) WHERE holder IS NOT NULL;
CREATE INDEX coupons_by_event ON coupons (project_id, shown_by) WHERE shown_by IS NOT NULL;

GRANT SELECT, INSERT, UPDATE ON grants, badges, allowances, fulfilments, stocks, coupons TO questline_service;
GRANT SELECT ON grants, badges, allowances, fulfilments, stocks, coupons TO questline_tenant;
GRANT INSERT, UPDATE ON stocks TO questline_tenant;
GRANT INSERT ON coupons TO questline_tenant;

DO $$
DECLARE
    tenant_table text;
BEGIN
    FOREACH tenant_table IN ARRAY ARRAY[
        'grants', 'badges', 'allowances', 'fulfilments', 'stocks', 'coupons'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', tenant_table);
        EXECUTE format('CREATE POLICY tenant_sees_its_project ON %I TO questline_tenant '
                       'USING (project_id = current_project()) WITH CHECK (project_id = current_project())', tenant_table);
        EXECUTE format('CREATE POLICY service_sees_all ON %I TO questline_service USING (true) WITH CHECK (true)', tenant_table);
    END LOOP;
END $$;
