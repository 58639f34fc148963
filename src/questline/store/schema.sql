-- The whole database, as it is after every migration; read it top to bottom.
--
-- Three rules hold everywhere:
--   * A tenant's row starts with project_id, and every tenant table is under row-level security.
--   * The customer's words (their user id, attributes, payloads, context) live in `users` and `events` only, so erasing a
--     person blanks those two and leaves ledger, boards and sums whole; attributes that a condition read are with its
--     decision too, as `user.*` of the trace's `reads`, and go likewise. Of visitors, `anonymous_links` and
--     `anonymous_events` hold some as well: their rows are removed.
--   * Names of mechanics (currencies, rules, streaks ...) are compared byte by byte (COLLATE "C").

-- ───────────────────────────────────────────────────────────── roles
-- questline_service: ingest and processing; writes many tenants in one statement, never updates a fact.
-- questline_tenant:  a tenant's request; sees the project named by the setting questline.project_id, nothing else.
-- Neither may log in: the processes log in as a role that is a member of both (see store/roles.py).

DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'questline_service') THEN
        CREATE ROLE questline_service NOLOGIN;
    END IF;
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'questline_tenant') THEN
        CREATE ROLE questline_tenant NOLOGIN;
    END IF;
END $$;

-- ───────────────────────────────────────────────────────────── control plane

CREATE TABLE organizations (
    id           integer GENERATED ALWAYS AS IDENTITY,
    slug         text NOT NULL,                       -- the organization's name outside
    name         text NOT NULL,
    created_at   timestamptz NOT NULL DEFAULT now(),
    archived_at  timestamptz,                         -- its members and its projects' keys are refused
    CONSTRAINT organizations_pk PRIMARY KEY (id),
    CONSTRAINT organizations_slug_is_unique UNIQUE (slug),
    CONSTRAINT organizations_slug_is_a_slug CHECK (slug ~ '^[a-z0-9][a-z0-9_.-]{0,62}$')
);

CREATE TABLE projects (
    id               integer GENERATED ALWAYS AS IDENTITY,
    organization_id  integer NOT NULL,
    app_id           text COLLATE "C" NOT NULL,       -- the project's name outside
    name             text NOT NULL,
    timezone         text NOT NULL DEFAULT 'UTC',     -- IANA zone; the program's own `timezone` wins over it
    settings         jsonb NOT NULL DEFAULT '{}',     -- dedupeStrategy, intentWindowSeconds ...
    webhook_url      text,
    webhook_secret   text,
    program_version  integer NOT NULL DEFAULT 0,      -- the version in force; 0 is the empty program
    created_at       timestamptz NOT NULL DEFAULT now(),
    archived_at      timestamptz,                     -- its keys are refused; its data stays
    rates            jsonb,                           -- limits an operator grants it; null: those of the settings
    trusted_types    text[] NOT NULL DEFAULT '{}',    -- event types that the program in force leaves to servers
    known_types      text[],                          -- the only ones it takes; NULL: it takes all
    CONSTRAINT projects_pk PRIMARY KEY (id),
    CONSTRAINT projects_app_id_is_unique UNIQUE (app_id),
    CONSTRAINT projects_app_id_is_a_slug CHECK (app_id ~ '^[a-z0-9][a-z0-9_.-]{0,62}$'),
    CONSTRAINT projects_belong_to_an_organization FOREIGN KEY (organization_id) REFERENCES organizations (id)
);
CREATE INDEX projects_by_organization ON projects (organization_id);

CREATE TABLE api_keys (
    id            uuid NOT NULL,
    project_id    integer NOT NULL,
    key_hash      bytea NOT NULL,                     -- SHA-256 of the whole key
    prefix        text NOT NULL,                      -- the first characters, to recognise a key by
    type          text NOT NULL,                      -- secret | publishable
    role          text NOT NULL,                      -- ADMIN | INGEST | READONLY
    name          text NOT NULL DEFAULT '',
    created_at    timestamptz NOT NULL DEFAULT now(),
    last_used_at  timestamptz,                        -- to the minute
    revoked_at    timestamptz,
    scopes        text[],                             -- what of its role it may do; NULL: all of it
    expires_at    timestamptz,                        -- given when it was made, or by its rotation
    replaced_by   uuid,                               -- the key that a rotation made in its place
    CONSTRAINT api_keys_pk PRIMARY KEY (id),
    CONSTRAINT api_keys_hash_is_unique UNIQUE (key_hash),
    CONSTRAINT api_keys_hash_is_sha256 CHECK (octet_length(key_hash) = 32),
    CONSTRAINT api_keys_type_is_known CHECK (type IN ('secret', 'publishable')),
    CONSTRAINT api_keys_role_is_known CHECK (role IN ('ADMIN', 'INGEST', 'READONLY')),
    CONSTRAINT api_keys_publishable_only_ingests CHECK (type = 'secret' OR role = 'INGEST'),
    CONSTRAINT api_keys_belong_to_a_project FOREIGN KEY (project_id) REFERENCES projects (id)
);
CREATE INDEX api_keys_by_project ON api_keys (project_id);

-- A program version is immutable once applied; every effect names the version that made it.
CREATE TABLE program_versions (
    project_id  integer NOT NULL,
    version     integer NOT NULL,
    document    json NOT NULL,
    applied_by  text NOT NULL DEFAULT '',
    applied_at  timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT program_versions_pk PRIMARY KEY (project_id, version),
    CONSTRAINT program_versions_start_at_one CHECK (version > 0),
    CONSTRAINT program_versions_belong_to_a_project FOREIGN KEY (project_id) REFERENCES projects (id)
);

-- ───────────────────────────────────────────────────────────── users and events

CREATE TABLE users (
    id            bigint GENERATED ALWAYS AS IDENTITY,
    project_id    integer NOT NULL,
    external_id   text COLLATE "C" NOT NULL,          -- the customer's own id
    display_name  text,
    attributes    jsonb NOT NULL DEFAULT '{}',
    timezone      text,                               -- IANA zone in force now; NULL: the project's
    zone_history  jsonb,                              -- [[until ISO 8601, zone or null], ...] oldest first; NULL: never changed
    blocked_at    timestamptz,
    parked        boolean NOT NULL DEFAULT false,     -- an event of theirs is tried again later, and the others wait for it
    created_at    timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT users_pk PRIMARY KEY (id),
    CONSTRAINT users_external_id_is_unique UNIQUE (project_id, external_id)
);

-- Facts: appended, never changed. The id is a UUIDv7, so a range of ids is a range of receipt times, and the partition
-- key is part of the primary key. Retention drops whole partitions.
CREATE TABLE events (
    id              uuid NOT NULL,
    project_id      integer NOT NULL,
    type            text COLLATE "C" NOT NULL,
    external_user   text COLLATE "C" NOT NULL,        -- the customer's user id, as sent
    payload         json NOT NULL,                    -- json, not jsonb: stored as it was sent, and cheap to write
    occurred_at     timestamptz NOT NULL,
    received_at     timestamptz NOT NULL,
    external_id     text COLLATE "C",                 -- the customer's eventId
    source          text,
    schema_version  text,
    spec_version    text,
    partition_key   text,
    correlation_id  text,
    context         json,                             -- what its sender said of the circumstances; no part of the content
    sent_with       text COLLATE "C",                 -- publishable: with a key that anybody may have; user: with a token of that user; NULL: by a server
    traceparent     text COLLATE "C",                 -- W3C Trace Context of the request that sent it; NULL: it is not traced
    CONSTRAINT events_pk PRIMARY KEY (project_id, id)
) PARTITION BY RANGE (id);
CREATE TABLE events_default PARTITION OF events DEFAULT;

-- One row a dedupe key, for ever (until a retention prunes it): uniqueness cannot span time partitions.
CREATE TABLE dedupe_keys (
    project_id    integer NOT NULL,
    key_hash      bytea NOT NULL,                     -- 16 bytes; the kind of key is hashed in
    event_id      uuid NOT NULL,
    content_hash  bytea,                              -- 16 bytes; NULL: an alias, kept to find the event by
    CONSTRAINT dedupe_keys_pk PRIMARY KEY (project_id, key_hash)
);

-- Accepted, not yet applied. A row leaves in the transaction that applies (or dead-letters) its event.
CREATE TABLE outbox (
    partition   smallint NOT NULL,                    -- user_hash mod 64
    project_id  integer NOT NULL,
    seq         bigint GENERATED ALWAYS AS IDENTITY,
    event_id    uuid NOT NULL,
    user_hash   bigint NOT NULL,                      -- hash(project, user)
    -- Where a broker carries events, what a relay does with the row. Eight columns at most: so many may be NULL at no cost.
    relay_state text COLLATE "C",                     -- NULL: pending → in_flight → published | failed → in_flight ...
    relay_owner uuid,                                 -- the relay that has it in flight, or had it last
    relay_at    timestamptz,                          -- since when; failed: from when on it may be tried again
    CONSTRAINT outbox_pk PRIMARY KEY (partition, project_id, seq),
    CONSTRAINT outbox_partition_is_in_range CHECK (partition BETWEEN 0 AND 63),
    CONSTRAINT outbox_is_relayed_in_steps CHECK (
        relay_state IS NULL OR (relay_state IN ('in_flight', 'published', 'failed') AND relay_at IS NOT NULL))
) WITH (fillfactor = 90, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 20000);
CREATE INDEX outbox_by_user ON outbox (user_hash);

-- Who works on which partition. Speed and order hang on it, correctness does not: users are locked row by row.
CREATE TABLE workers (
    owner       uuid NOT NULL,
    expires_at  timestamptz NOT NULL,
    version     text COLLATE "C",                     -- of Questline; NULL: of before it was told
    CONSTRAINT workers_pk PRIMARY KEY (owner)
);
CREATE TABLE partition_leases (
    partition   smallint NOT NULL,
    owner       uuid NOT NULL,
    expires_at  timestamptz NOT NULL,
    CONSTRAINT partition_leases_pk PRIMARY KEY (partition)
);

-- One try at an event, kept for ever with its reason code.
CREATE TABLE attempts (
    project_id   integer NOT NULL,
    event_id     uuid NOT NULL,
    number       smallint NOT NULL,
    status       text COLLATE "C" NOT NULL,           -- processed | refused | held | retried | failed
    reason       text COLLATE "C" NOT NULL,           -- a reason code
    message      text,
    duration_us  integer NOT NULL,                    -- this event's share of its batch
    at           timestamptz NOT NULL,
    CONSTRAINT attempts_pk PRIMARY KEY (project_id, event_id, number),
    CONSTRAINT attempts_status_is_known CHECK (status IN ('processed', 'refused', 'held', 'retried', 'failed'))
) PARTITION BY RANGE (event_id);
CREATE TABLE attempts_default PARTITION OF attempts DEFAULT;

-- What the engine said of an event: only what cannot be worked out again (DESIGN "Reasons").
CREATE TABLE decisions (
    project_id       integer NOT NULL,
    event_id         uuid NOT NULL,
    user_id          bigint NOT NULL,
    status           text COLLATE "C" NOT NULL,       -- processed | refused | held, until it is approved or denied
    reason           text COLLATE "C" NOT NULL,
    program_version  integer NOT NULL,
    trace            json NOT NULL,                   -- rules fired, state values read, changes that are no transfer
    CONSTRAINT decisions_pk PRIMARY KEY (project_id, event_id),
    CONSTRAINT decisions_status_is_known CHECK (status IN ('processed', 'refused', 'held'))
) PARTITION BY RANGE (event_id);
CREATE INDEX decisions_by_user ON decisions (project_id, user_id, event_id);
CREATE TABLE decisions_default PARTITION OF decisions DEFAULT;

-- Events that gave up; replayable, so they keep where they came from.
CREATE TABLE dead_letters (
    project_id  integer NOT NULL,
    event_id    uuid NOT NULL,
    user_hash   bigint NOT NULL,
    reason      text COLLATE "C" NOT NULL,
    message     text NOT NULL,
    attempts    smallint NOT NULL,
    failed_at   timestamptz NOT NULL,
    discarded_at   timestamptz,                       -- given up for good; NULL: it can be retried
    discarded_by   text,
    discarded_for  text,                              -- the reason that was given
    mirrored_at    timestamptz,                       -- told to the broker; NULL: not yet, or there is none
    CONSTRAINT dead_letters_pk PRIMARY KEY (project_id, event_id),
    CONSTRAINT dead_letters_are_discarded_by_somebody CHECK (
        (discarded_at IS NULL) = (discarded_by IS NULL) AND (discarded_at IS NULL) = (discarded_for IS NULL))
);
CREATE INDEX dead_letters_by_user ON dead_letters (project_id, user_hash);
CREATE INDEX dead_letters_to_mirror ON dead_letters (failed_at) WHERE mirrored_at IS NULL AND discarded_at IS NULL;

-- ───────────────────────────────────────────────────────────── the ledger

-- One movement of a currency from one account to another. Append-only. `user` and `debt` are accounts of user_id.
CREATE TABLE transfers (
    project_id       integer NOT NULL,
    event_id         uuid NOT NULL,
    ordinal          smallint NOT NULL,               -- position within the event's decision
    user_id          bigint NOT NULL,
    currency         text COLLATE "C" NOT NULL,
    debit            text COLLATE "C" NOT NULL,       -- the account it leaves: user | debt | issuance | burn | escrow | commission
    credit           text COLLATE "C" NOT NULL,       -- the account it reaches
    amount           bigint NOT NULL,                 -- in the currency's smallest unit
    rule             text COLLATE "C" NOT NULL,       -- what caused it: rule:NAME, level:TRACK:N, streak:NAME:N, achievement:NAME, command:spend
    program_version  integer NOT NULL,
    at               timestamptz NOT NULL,            -- the event's occurredAt
    CONSTRAINT transfers_pk PRIMARY KEY (project_id, event_id, ordinal),
    CONSTRAINT transfers_amount_is_positive CHECK (amount > 0),
    CONSTRAINT transfers_accounts_differ CHECK (debit <> credit),
    CONSTRAINT transfers_accounts_are_known CHECK (
        debit IN ('user', 'debt', 'issuance', 'burn', 'escrow', 'commission')
        AND credit IN ('user', 'debt', 'issuance', 'burn', 'escrow', 'commission'))
);

-- Projection of the transfers that touch a user's account.
CREATE TABLE balances (
    project_id  integer NOT NULL,
    user_id     bigint NOT NULL,
    currency    text COLLATE "C" NOT NULL,
    amount      bigint NOT NULL,
    level       integer NOT NULL DEFAULT 0,           -- highest level reached and paid for; 0 for what has no levels
    debt        bigint NOT NULL DEFAULT 0,            -- owed after a clawback; what is credited pays it off first
    CONSTRAINT balances_pk PRIMARY KEY (project_id, user_id, currency),
    CONSTRAINT balances_never_negative CHECK (amount >= 0),
    CONSTRAINT balances_debt_is_never_negative CHECK (debt >= 0)
) WITH (fillfactor = 80);

-- ───────────────────────────────────────────────────────────── a user's state, keyed by the mechanic's name

CREATE TABLE metrics (
    project_id  integer NOT NULL,
    user_id     bigint NOT NULL,
    metric      text COLLATE "C" NOT NULL,
    value       numeric NOT NULL,
    last_at     timestamptz,                          -- occurredAt behind a `last` metric's value
    CONSTRAINT metrics_pk PRIMARY KEY (project_id, user_id, metric)
) WITH (fillfactor = 80);

-- Values a `distinct` metric has seen, as 16-byte hashes.
CREATE TABLE metric_values (
    project_id  integer NOT NULL,
    user_id     bigint NOT NULL,
    metric      text COLLATE "C" NOT NULL,
    value_hash  bytea NOT NULL,
    CONSTRAINT metric_values_pk PRIMARY KEY (project_id, user_id, metric, value_hash)
);

-- A streak is a function of the set of active periods (numbered by model/calendar.py); the rest of the row caches it.
CREATE TABLE streaks (
    project_id     integer NOT NULL,
    user_id        bigint NOT NULL,
    streak         text COLLATE "C" NOT NULL,
    active         int4multirange NOT NULL,           -- periods with activity
    excused        int4multirange NOT NULL DEFAULT '{}',  -- periods that neither count nor break
    run_start      integer NOT NULL,                  -- first active period of the latest run
    last_period    integer NOT NULL,                  -- last active period
    length         integer NOT NULL,                  -- active periods in the latest run; 0: periods are excused, none is active yet
    longest        integer NOT NULL,
    freeze_credit  integer NOT NULL DEFAULT 0,        -- see engine/streaks.py; whole freezes are credit div earnEvery
    CONSTRAINT streaks_pk PRIMARY KEY (project_id, user_id, streak),
    CONSTRAINT streaks_longest_is_longest CHECK (longest >= length AND length >= 0),
    CONSTRAINT streaks_run_is_ordered CHECK (run_start <= last_period)
) WITH (fillfactor = 80);

-- How often a limited rule fired in one window (hour, day, week, month number; 0 for ever).
CREATE TABLE rule_uses (
    project_id    integer NOT NULL,
    user_id       bigint NOT NULL,
    rule          text COLLATE "C" NOT NULL,
    window_start  integer NOT NULL,
    uses          integer NOT NULL,
    CONSTRAINT rule_uses_pk PRIMARY KEY (project_id, user_id, rule, window_start),
    CONSTRAINT rule_uses_are_positive CHECK (uses > 0)
) WITH (fillfactor = 80);

CREATE TABLE achievements (
    project_id   integer NOT NULL,
    user_id      bigint NOT NULL,
    achievement  text COLLATE "C" NOT NULL,
    tier         smallint NOT NULL DEFAULT 1,         -- highest tier reached, from 1
    times        integer NOT NULL DEFAULT 1,          -- how often a repeatable one was earned
    event_id     uuid NOT NULL,                       -- the latest event that unlocked
    unlocked_at  timestamptz NOT NULL,                -- its occurredAt
    mark         json,                                -- of a tier: [tier, threshold]; store/marks.py
    CONSTRAINT achievements_pk PRIMARY KEY (project_id, user_id, achievement),
    CONSTRAINT achievements_are_earned CHECK (tier > 0 AND times > 0)
);

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
) PARTITION BY RANGE (event_id);
CREATE INDEX notices_by_user ON notices (project_id, user_id, event_id);
CREATE TABLE notices_default PARTITION OF notices DEFAULT;

-- ───────────────────────────────────────────────────────────── boosts and tiers

-- Personal boosts: when one holds, and held before.
CREATE TABLE boosts (
    project_id  integer NOT NULL,
    user_id     bigint NOT NULL,
    boost       text COLLATE "C" NOT NULL,
    until       timestamptz NOT NULL,
    since       timestamptz,                          -- null: as long before `until` as the boost lasts; an old row
    earlier     json NOT NULL DEFAULT '[]',           -- [[since, until], ...] the oldest first, the present one last
    CONSTRAINT boosts_pk PRIMARY KEY (project_id, user_id, boost)
) WITH (fillfactor = 80);

-- The step a user stands on, by place in the list of steps of the program that wrote the row.
CREATE TABLE tiers (
    project_id  integer NOT NULL,
    user_id     bigint NOT NULL,
    tier        text COLLATE "C" NOT NULL,
    step        smallint NOT NULL,
    best        smallint NOT NULL,                    -- the highest ever: its rewards are paid
    earned      bigint NOT NULL,                      -- of the currency: held as the tiers began, and since
    marks       json,                                 -- [[step, name, at], [best, name, at]]; store/marks.py
    CONSTRAINT tiers_pk PRIMARY KEY (project_id, user_id, tier),
    CONSTRAINT tiers_best_is_best CHECK (best >= step AND step >= 0)
) WITH (fillfactor = 80);

-- ───────────────────────────────────────────────────────────── windows, progress, choices, sweeps

-- What a metric counted in each minute, hour or day, as far back as requirements with a timeframe look.
CREATE TABLE metric_windows (
    project_id  integer NOT NULL,
    user_id     bigint NOT NULL,
    metric      text COLLATE "C" NOT NULL,
    unit        text COLLATE "C" NOT NULL,            -- minutes | hours | days
    buckets     json NOT NULL,                        -- [[number, value], ...], the oldest first; numbers by model/calendar.py
    CONSTRAINT metric_windows_pk PRIMARY KEY (project_id, user_id, metric, unit),
    CONSTRAINT metric_windows_unit_is_known CHECK (unit IN ('minutes', 'hours', 'days'))
) WITH (fillfactor = 80);

-- How far the customer says a user is with an achievement.
CREATE TABLE achievement_progress (
    project_id   integer NOT NULL,
    user_id      bigint NOT NULL,
    achievement  text COLLATE "C" NOT NULL,
    value        numeric NOT NULL,
    at           timestamptz NOT NULL,                -- occurredAt of the latest report
    CONSTRAINT achievement_progress_pk PRIMARY KEY (project_id, user_id, achievement),
    CONSTRAINT achievement_progress_is_never_negative CHECK (value >= 0)
) WITH (fillfactor = 80);

-- What a user chose for a streak, and what only streaks of chosen or counted days need.
CREATE TABLE streak_choices (
    project_id  integer NOT NULL,
    user_id     bigint NOT NULL,
    streak      text COLLATE "C" NOT NULL,
    days        int4multirange NOT NULL,              -- active days, where a week or month needs several
    targets     json NOT NULL,                        -- [[from this period on, days], ...], the oldest first
    day_starts  json NOT NULL,                        -- [[from this instant on, hours after midnight], ...], the oldest first
    CONSTRAINT streak_choices_pk PRIMARY KEY (project_id, user_id, streak)
) WITH (fillfactor = 80);

-- One event for each of many users, sent in batches by workers: an award of an achievement, the mending after an incident.
CREATE TABLE sweeps (
    project_id       integer NOT NULL,
    id               uuid NOT NULL,
    kind             text COLLATE "C" NOT NULL,       -- award | incident
    name             text COLLATE "C" NOT NULL,       -- of the achievement, or of the incident
    program_version  integer NOT NULL,                -- an award is of one version; 0 for incidents
    payload          json NOT NULL,                   -- of the event that each user is sent
    at               timestamptz NOT NULL,            -- occurredAt of these events
    started_by       text NOT NULL,                   -- the key that asked for it
    reason           text NOT NULL,
    started_at       timestamptz NOT NULL,
    finished_at      timestamptz,                     -- NULL: under way
    users            bigint NOT NULL,                 -- of the project when it began
    after_user       bigint NOT NULL DEFAULT 0,       -- all users up to this one have been looked at
    examined         bigint NOT NULL DEFAULT 0,
    sent             bigint NOT NULL DEFAULT 0,
    CONSTRAINT sweeps_pk PRIMARY KEY (project_id, id),
    CONSTRAINT sweeps_are_asked_for_once UNIQUE (project_id, kind, name, program_version),
    CONSTRAINT sweeps_kind_is_known CHECK (kind IN ('award', 'incident'))
);
CREATE INDEX sweeps_under_way ON sweeps (started_at) WHERE finished_at IS NULL;
-- ───────────────────────────────────────────────────────────── referrals and commissions

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

-- What an order paid to the user who earned it: once, and taken back once. A buyer's row keeps that there was a refund.
CREATE TABLE commissions (
    project_id  integer NOT NULL,
    user_id     bigint NOT NULL,
    commission  text COLLATE "C" NOT NULL,            -- NAME:hash of the order
    amount      bigint NOT NULL,
    plan        text COLLATE "C" NOT NULL,            -- '' where there is only a refund
    reversed    boolean NOT NULL,
    currency    text COLLATE "C" NOT NULL DEFAULT '', -- what was paid; '': before this was kept
    CONSTRAINT commissions_pk PRIMARY KEY (project_id, user_id, commission),
    CONSTRAINT commissions_are_not_negative CHECK (amount >= 0)
);
CREATE INDEX commissions_by_order ON commissions (project_id, commission) WHERE NOT reversed;
-- ───────────────────────────────────────────────────────────── rewards

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

-- ───────────────────────────────────────────────────────────── seasons and leagues

-- A season that has ended. Results are worked out in the transaction that closes it, and sent to users from the lowest id up.
CREATE TABLE season_ends (
    project_id  integer NOT NULL,
    season      text COLLATE "C" NOT NULL,
    closed_at   timestamptz NOT NULL,
    sent_to     bigint NOT NULL DEFAULT 0,            -- the last user whose result was sent
    settled_at  timestamptz,                          -- all results have been sent
    CONSTRAINT season_ends_pk PRIMARY KEY (project_id, season)
);

-- What a season came to for a user, kept for ever.
CREATE TABLE season_results (
    project_id  integer NOT NULL,
    season      text COLLATE "C" NOT NULL,
    user_id     bigint NOT NULL,
    places      jsonb NOT NULL DEFAULT '[]',          -- [{board, rank, score}, ...]
    reset       jsonb NOT NULL DEFAULT '{}',          -- {currency: what of its balance the end takes}
    CONSTRAINT season_results_pk PRIMARY KEY (project_id, season, user_id)
);

-- One week of a league, on the clocks of one zone; members carry its number: open → closed (nobody joins, no score moves) → settled.
CREATE TABLE league_weeks (
    id           integer GENERATED ALWAYS AS IDENTITY,
    project_id   integer NOT NULL,
    league       text COLLATE "C" NOT NULL,
    week         integer NOT NULL,                    -- its number, see model/calendar.py
    zone         text COLLATE "C" NOT NULL,
    closes_at    timestamptz NOT NULL,                -- an event received from then on does not count
    closed_at    timestamptz,
    done_tier    smallint NOT NULL DEFAULT 0,         -- cohorts up to this one have their results
    done_cohort  integer NOT NULL DEFAULT 0,
    settled_at   timestamptz,
    CONSTRAINT league_weeks_pk PRIMARY KEY (id),
    CONSTRAINT league_weeks_are_unique UNIQUE (project_id, league, week, zone),
    CONSTRAINT league_weeks_close_before_they_settle CHECK (settled_at IS NULL OR closed_at IS NOT NULL)
);
CREATE INDEX league_weeks_due ON league_weeks (closes_at) WHERE settled_at IS NULL;

-- The cohort of a tier that newcomers join, and how many it has. Taken after all other locks, and held until the commit.
CREATE TABLE league_tiers (
    project_id   integer NOT NULL,
    league_week  integer NOT NULL,
    tier         smallint NOT NULL,                   -- from 1, the lowest
    cohort       integer NOT NULL,                    -- from 0
    members      integer NOT NULL,
    size         integer NOT NULL,                    -- how many a cohort could have when somebody joined last
    CONSTRAINT league_tiers_pk PRIMARY KEY (project_id, league_week, tier),
    CONSTRAINT league_tiers_never_overfull CHECK (members BETWEEN 1 AND size)
) WITH (fillfactor = 50);

-- A user in a week of a league. Without a cohort they wait for the result of their last week, which decides their tier.
CREATE TABLE league_members (
    project_id   integer NOT NULL,
    user_id      bigint NOT NULL,
    league       text COLLATE "C" NOT NULL,
    week         integer NOT NULL,
    league_week  integer NOT NULL,
    tier         smallint,
    cohort       integer,
    score        bigint NOT NULL,
    reached_at   timestamptz NOT NULL,                -- as on boards
    rank         integer,                             -- the result, kept for ever; NULL with an outcome: blocked, not ranked
    outcome      text COLLATE "C",                    -- promoted | demoted | stayed
    next_tier    smallint,
    rest         integer,                             -- as on boards
    CONSTRAINT league_members_pk PRIMARY KEY (project_id, user_id, league, week),
    CONSTRAINT league_members_are_seated_whole CHECK ((tier IS NULL) = (cohort IS NULL)),
    CONSTRAINT league_members_outcome_is_known CHECK (outcome IN ('promoted', 'demoted', 'stayed')),
    CONSTRAINT league_members_outcome_has_a_tier CHECK ((outcome IS NULL) = (next_tier IS NULL))
) WITH (fillfactor = 80);
CREATE INDEX league_members_by_cohort ON league_members (league_week, tier, cohort);

-- Where the last week left a user, as the event that told them wrote it down.
CREATE TABLE league_standings (
    project_id  integer NOT NULL,
    user_id     bigint NOT NULL,
    league      text COLLATE "C" NOT NULL,
    tier        smallint NOT NULL,                    -- of the next week
    week        text COLLATE "C" NOT NULL,            -- its key
    rank        integer NOT NULL,
    outcome     text COLLATE "C" NOT NULL,
    CONSTRAINT league_standings_pk PRIMARY KEY (project_id, user_id, league)
) WITH (fillfactor = 80);


-- ───────────────────────────────────────────────────────────── guards

-- What a guard remembers of a user.
CREATE TABLE guard_marks (
    project_id  integer NOT NULL,
    user_id     bigint NOT NULL,
    guard       text COLLATE "C" NOT NULL,
    marks       json NOT NULL,                        -- [[milliseconds, hash, number or ""], ...] in the order of receipt; bounded
    value       numeric,                              -- of a `jump` guard whose only mark bears no number: an old row
    CONSTRAINT guard_marks_pk PRIMARY KEY (project_id, user_id, guard)
) WITH (fillfactor = 80);

-- Which users bore one value (a device, an address, a fingerprint). Its row is locked while a batch looks at it, so that
-- two users who come at once see each other. No word of the customer's is in it.
CREATE TABLE sightings (
    project_id  integer NOT NULL,
    guard       text COLLATE "C" NOT NULL,
    value_hash  bytea NOT NULL,                       -- 16 bytes
    users       json NOT NULL,                        -- [[user id, milliseconds], ...] in the order of receipt; bounded
    expires_at  timestamptz NOT NULL,                 -- from then on nothing is compared with it, and it is swept away
    CONSTRAINT sightings_pk PRIMARY KEY (project_id, guard, value_hash)
) WITH (fillfactor = 70);
CREATE INDEX sightings_by_expiry ON sightings (expires_at);

-- How suspect a user is, as of `at`; what has decayed since is worked out by whoever reads it.
CREATE TABLE suspicions (
    project_id  integer NOT NULL,
    user_id     bigint NOT NULL,
    score       integer NOT NULL,
    at          timestamptz NOT NULL,
    CONSTRAINT suspicions_pk PRIMARY KEY (project_id, user_id),
    CONSTRAINT suspicions_never_negative CHECK (score >= 0)
) WITH (fillfactor = 80);

-- Users who are or were blocked; users.blocked_at is set for as long as they are.
CREATE TABLE blocks (
    project_id  integer NOT NULL,
    user_id     bigint NOT NULL,
    blocked     boolean NOT NULL,
    hidden      boolean NOT NULL,                     -- their standing is off the boards, see board_hidden
    reason      text NOT NULL,                        -- the operator's, or the guard that did it
    at          timestamptz NOT NULL,
    CONSTRAINT blocks_pk PRIMARY KEY (project_id, user_id),
    CONSTRAINT blocks_hide_only_the_blocked CHECK (blocked OR NOT hidden)
);

-- Events that guards held. waiting → approved: applied by the event decided_by; waiting → denied: kept without effect.
CREATE TABLE reviews (
    project_id  integer NOT NULL,
    user_id     bigint NOT NULL,
    event_id    uuid NOT NULL,                        -- the held event
    status      text COLLATE "C" NOT NULL,            -- waiting | approved | denied
    at          timestamptz NOT NULL,                 -- the held event's occurredAt
    reason      text NOT NULL,                        -- the operator's
    decided_by  uuid,                                 -- the $approve or $deny
    CONSTRAINT reviews_pk PRIMARY KEY (project_id, event_id),
    CONSTRAINT reviews_status_is_known CHECK (status IN ('waiting', 'approved', 'denied')),
    CONSTRAINT reviews_are_decided_by_an_event CHECK ((status = 'waiting') = (decided_by IS NULL))
);
CREATE INDEX reviews_by_status ON reviews (project_id, status, event_id);

-- Entries of users whose standing was removed, as they were; they return when the users are unblocked.
CREATE TABLE board_hidden (
    project_id    integer NOT NULL,
    board_period  integer NOT NULL,
    user_id       bigint NOT NULL,
    lead          bigint NOT NULL,
    reached_at    timestamptz NOT NULL,
    rest          integer,
    CONSTRAINT board_hidden_pk PRIMARY KEY (project_id, user_id, board_period)
);

-- ───────────────────────────────────────────────────────────── quests

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

-- ───────────────────────────────────────────────────────────── reminders

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

-- ───────────────────────────────────────────────────────────── retries

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
    mode             text COLLATE "C" NOT NULL,       -- republish | reprocess | backfill
    program_version  integer NOT NULL,                -- to reprocess or count under; 0 for what is only republished
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
    changed          bigint NOT NULL DEFAULT 0,       -- of those: put back, compensated or counted
    metric           text COLLATE "C",                -- to count in; NULL where the mode is another
    CONSTRAINT replays_pk PRIMARY KEY (project_id, id),
    CONSTRAINT replays_mode_is_known CHECK (mode IN ('republish', 'reprocess', 'backfill')),
    CONSTRAINT replays_backfill_a_metric CHECK ((mode = 'backfill') = (metric IS NOT NULL))
);
CREATE INDEX replays_under_way ON replays (started_at) WHERE finished_at IS NULL;
-- ───────────────────────────────────────────────────────────── members and the audit log

-- People who use the console. Nobody but they know their password; a member without a membership may do nothing.
CREATE TABLE members (
    id             uuid NOT NULL,
    email          text NOT NULL,                     -- in lower case
    name           text NOT NULL,
    password_hash  text NOT NULL,                     -- argon2id, with its parameters
    created_at     timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT members_pk PRIMARY KEY (id),
    CONSTRAINT members_email_is_unique UNIQUE (email),
    CONSTRAINT members_email_is_in_lower_case CHECK (email = lower(email))
);

-- What a member may do in an organization and all its projects. An organization that ever had an owner keeps one.
CREATE TABLE memberships (
    organization_id  integer NOT NULL,
    member_id        uuid NOT NULL,
    role             text NOT NULL,                   -- owner | admin | analyst
    since            timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT memberships_pk PRIMARY KEY (organization_id, member_id),
    CONSTRAINT memberships_role_is_known CHECK (role IN ('owner', 'admin', 'analyst')),
    CONSTRAINT memberships_are_of_an_organization FOREIGN KEY (organization_id) REFERENCES organizations (id),
    CONSTRAINT memberships_are_of_a_member FOREIGN KEY (member_id) REFERENCES members (id)
);
CREATE INDEX memberships_by_member ON memberships (member_id);

CREATE TABLE member_sessions (
    token_hash  bytea NOT NULL,                       -- SHA-256 of the whole token
    member_id   uuid NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT now(),
    expires_at  timestamptz NOT NULL,
    CONSTRAINT member_sessions_pk PRIMARY KEY (token_hash),
    CONSTRAINT member_sessions_hash_is_sha256 CHECK (octet_length(token_hash) = 32),
    CONSTRAINT member_sessions_are_of_a_member FOREIGN KEY (member_id) REFERENCES members (id)
);
CREATE INDEX member_sessions_by_member ON member_sessions (member_id);
CREATE INDEX member_sessions_by_end ON member_sessions (expires_at);

-- The way back for a member who forgot their password: a token, of each the newest alone.
CREATE TABLE member_password_resets (
    member_id   uuid NOT NULL,
    token_hash  bytea NOT NULL,                       -- SHA-256 of the whole token
    expires_at  timestamptz NOT NULL,
    CONSTRAINT member_password_resets_pk PRIMARY KEY (member_id),
    CONSTRAINT member_password_resets_hash_is_unique UNIQUE (token_hash),
    CONSTRAINT member_password_resets_hash_is_sha256 CHECK (octet_length(token_hash) = 32),
    CONSTRAINT member_password_resets_are_of_a_member FOREIGN KEY (member_id) REFERENCES members (id)
);

-- One row an invitation: it is accepted once, by whoever has its token, or revoked, or it ends.
CREATE TABLE invitations (
    id               uuid NOT NULL,
    organization_id  integer NOT NULL,
    email            text NOT NULL,                   -- in lower case
    role             text NOT NULL,
    token_hash       bytea NOT NULL,                  -- SHA-256 of the whole token
    invited_by       text NOT NULL,                   -- operator, or member:ID
    created_at       timestamptz NOT NULL DEFAULT now(),
    expires_at       timestamptz NOT NULL,
    accepted_at      timestamptz,
    revoked_at       timestamptz,
    CONSTRAINT invitations_pk PRIMARY KEY (id),
    CONSTRAINT invitations_hash_is_unique UNIQUE (token_hash),
    CONSTRAINT invitations_hash_is_sha256 CHECK (octet_length(token_hash) = 32),
    CONSTRAINT invitations_role_is_known CHECK (role IN ('owner', 'admin', 'analyst')),
    CONSTRAINT invitations_end_once CHECK (accepted_at IS NULL OR revoked_at IS NULL),
    CONSTRAINT invitations_are_of_an_organization FOREIGN KEY (organization_id) REFERENCES organizations (id)
);
CREATE INDEX invitations_by_organization ON invitations (organization_id, id);

-- Every administrative act, written in the transaction of what it did. Append-only. It holds no secret and no word of an
-- end user: an act on a user names the event that did it, and the event names the user.
CREATE TABLE audit_log (
    project_id       integer,                         -- NULL: an act on the organization itself
    organization_id  integer NOT NULL,
    id               uuid NOT NULL,                   -- UUIDv7: a range of ids is a range of times
    at               timestamptz NOT NULL DEFAULT now(),
    actor            text COLLATE "C" NOT NULL,       -- key:ID, member:ID, operator, or user: the target themselves
    action           text COLLATE "C" NOT NULL,       -- key.create, program.edit, user.block ...
    target_kind      text COLLATE "C" NOT NULL,
    target           text NOT NULL,                   -- '' for a user whom the event names; else their id in users
    before           json,
    after            json,
    event_id         uuid,                            -- of an act that is a command
    correlation_id   text NOT NULL,
    address          text NOT NULL,                   -- where the request came from
    CONSTRAINT audit_log_pk PRIMARY KEY (id),
    CONSTRAINT audit_log_is_of_an_organization FOREIGN KEY (organization_id) REFERENCES organizations (id),
    CONSTRAINT audit_log_is_of_a_project FOREIGN KEY (project_id) REFERENCES projects (id)
);
CREATE INDEX audit_log_by_project ON audit_log (project_id, id);
CREATE INDEX audit_log_by_organization ON audit_log (organization_id, id);

-- Whoever keeps an answer to "who may do what" in memory hears, at commit, that it may be wrong now.
CREATE FUNCTION announce_access() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('questline_access', TG_ARGV[0] || ' ' || (to_jsonb(OLD) ->> TG_ARGV[1]));
    RETURN NULL;
END $$;

CREATE TRIGGER api_keys_announce_changes AFTER UPDATE OF revoked_at, expires_at, role, scopes ON api_keys
    FOR EACH ROW EXECUTE FUNCTION announce_access('key', 'id');
CREATE TRIGGER projects_announce_changes AFTER UPDATE ON projects
    FOR EACH ROW WHEN (OLD.program_version = NEW.program_version) EXECUTE FUNCTION announce_access('project', 'id');
-- A new version is announced to those who remember projects where it takes other types.
CREATE FUNCTION announce_types() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('questline_access', 'project ' || NEW.id);
    RETURN NULL;
END $$;
CREATE TRIGGER projects_announce_types AFTER UPDATE OF trusted_types, known_types ON projects
    FOR EACH ROW WHEN ((OLD.trusted_types, OLD.known_types) IS DISTINCT FROM (NEW.trusted_types, NEW.known_types))
    EXECUTE FUNCTION announce_types();
CREATE TRIGGER organizations_announce_changes AFTER UPDATE OF archived_at ON organizations
    FOR EACH ROW EXECUTE FUNCTION announce_access('organization', 'id');
CREATE TRIGGER memberships_announce_changes AFTER UPDATE OR DELETE ON memberships
    FOR EACH ROW EXECUTE FUNCTION announce_access('member', 'member_id');
CREATE TRIGGER member_sessions_announce_ends AFTER DELETE ON member_sessions
    FOR EACH ROW EXECUTE FUNCTION announce_access('member', 'member_id');
-- ───────────────────────────────────────────────────────────── the edge

-- API processes that live: each counts requests for itself, and takes its share of every limit.
CREATE TABLE api_processes (
    process     uuid NOT NULL,
    expires_at  timestamptz NOT NULL,
    CONSTRAINT api_processes_pk PRIMARY KEY (process)
);

-- ───────────────────────────────────────────────────────────── visitors not known yet

-- Visitors who are not known yet: their events wait until somebody says who they are.
CREATE TABLE anonymous_links (
    project_id    integer NOT NULL,
    anonymous_id  text COLLATE "C" NOT NULL,
    external_user text COLLATE "C",                   -- who it is: the first whom a server named, or who said so themselves, stays
    linked_at     timestamptz NOT NULL,
    claimed_user  text COLLATE "C",                   -- whom a page named before that: it stays for what pages send
    CONSTRAINT anonymous_links_pk PRIMARY KEY (project_id, anonymous_id),
    CONSTRAINT anonymous_links_name_somebody CHECK (num_nonnulls(external_user, claimed_user) > 0)
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
    sent_with        text COLLATE "C" DEFAULT 'unknown',  -- as of events; unknown: it came before this was kept
    CONSTRAINT anonymous_events_pk PRIMARY KEY (project_id, anonymous_id, event_id),
    CONSTRAINT anonymous_events_wait_once UNIQUE (project_id, key_hash)
);

-- ───────────────────────────────────────────────────────────── event catalogue and kept replies

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
-- ───────────────────────────────────────────────────────────── signed events and end users

-- Secrets of signed events: two slots, so that of a project two are valid at once and no more.
CREATE TABLE signing_secrets (
    project_id  integer NOT NULL,
    slot        smallint NOT NULL,
    id          uuid NOT NULL,
    sealed      text NOT NULL,                        -- AES-256-GCM, see store/sealing.py
    prefix      text NOT NULL,                        -- the first characters, to recognise a secret by
    created_at  timestamptz NOT NULL DEFAULT now(),
    ends_at     timestamptz,                          -- NULL: the current one
    CONSTRAINT signing_secrets_pk PRIMARY KEY (project_id, slot),
    CONSTRAINT signing_secrets_id_is_unique UNIQUE (project_id, id),
    CONSTRAINT signing_secrets_are_two_at_most CHECK (slot IN (0, 1)),
    CONSTRAINT signing_secrets_belong_to_a_project FOREIGN KEY (project_id) REFERENCES projects (id)
);

-- Nonces of signed requests that were taken, until their signatures are too old anyway.
CREATE TABLE signature_nonces (
    project_id  integer NOT NULL,
    nonce_hash  bytea NOT NULL,                       -- 16 bytes
    expires_at  timestamptz NOT NULL,
    CONSTRAINT signature_nonces_pk PRIMARY KEY (project_id, nonce_hash)
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 20000);
CREATE INDEX signature_nonces_by_expiry ON signature_nonces (expires_at);

-- Passwords of end users who register here. To erase a person is to delete their row: a login is a word of theirs.
CREATE TABLE credentials (
    project_id     integer NOT NULL,
    login          text COLLATE "C" NOT NULL,         -- an email address or a name, folded
    user_id        bigint NOT NULL,
    password_hash  text NOT NULL,                     -- argon2id, with its parameters
    created_at     timestamptz NOT NULL DEFAULT now(),
    registered_as  text,                              -- the login as it was typed; null: before this was kept
    CONSTRAINT credentials_pk PRIMARY KEY (project_id, login),
    CONSTRAINT credentials_user_is_unique UNIQUE (project_id, user_id)
);

-- One row a login. A refresh token names its session and generation; one of an earlier generation was used before, and
-- ends the session, because either its user or a thief holds a copy.
CREATE TABLE user_sessions (
    project_id  integer NOT NULL,
    id          uuid NOT NULL,                        -- random
    user_id     bigint NOT NULL,
    generation  integer NOT NULL DEFAULT 0,
    created_at  timestamptz NOT NULL,
    expires_at  timestamptz NOT NULL,
    ended_at    timestamptz,                          -- by logging out, a token that was used twice, another password
    CONSTRAINT user_sessions_pk PRIMARY KEY (project_id, id),
    CONSTRAINT user_sessions_generation_counts CHECK (generation >= 0)
) WITH (fillfactor = 80);
CREATE INDEX user_sessions_by_expiry ON user_sessions (expires_at);
CREATE INDEX user_sessions_by_user ON user_sessions (project_id, user_id);

-- The way back for end users who forgot their password: a token, of each the newest alone. Using it deletes its row, and so
-- does a password that its user changes otherwise.
CREATE TABLE password_resets (
    project_id  integer NOT NULL,
    user_id     bigint NOT NULL,
    token_hash  bytea NOT NULL,                       -- SHA-256 of the whole token
    expires_at  timestamptz NOT NULL,
    CONSTRAINT password_resets_pk PRIMARY KEY (project_id, user_id),
    CONSTRAINT password_resets_hash_is_unique UNIQUE (token_hash),
    CONSTRAINT password_resets_hash_is_sha256 CHECK (octet_length(token_hash) = 32)
);

-- ───────────────────────────────────────────────────────────── retention

-- What retention has taken away: of a class, what was received before `before` may be gone.
CREATE TABLE pruned (
    class   text COLLATE "C" NOT NULL,                -- events | attempts | notices | keys
    before  timestamptz,                              -- NULL: nothing yet
    at      timestamptz NOT NULL,                     -- when it was gone over last
    CONSTRAINT pruned_pk PRIMARY KEY (class),
    CONSTRAINT pruned_class_is_known CHECK (class IN ('events', 'attempts', 'notices', 'keys'))
);

-- ───────────────────────────────────────────────────────────── Kafka as the carrier

-- How far each partition of the log has been taken in: moved in the transaction that stores and applies its events, from the
-- value that the worker knew, so that one who lost the partition meanwhile changes nothing.
CREATE TABLE kafka_offsets (
    topic        text COLLATE "C" NOT NULL,
    partition    integer NOT NULL,
    next_offset  bigint NOT NULL,                     -- the first record whose event is not here yet
    current_at   timestamptz,                         -- what was written before this is here; NULL: nobody knows
    topic_id     text COLLATE "C",                    -- Kafka's, another one for a topic made anew; NULL: not seen yet
    CONSTRAINT kafka_offsets_pk PRIMARY KEY (topic, partition),
    CONSTRAINT kafka_offsets_are_never_negative CHECK (next_offset >= 0)
) WITH (fillfactor = 50);

-- Records that are no events of ours, or whose event cannot be stored: kept as they are, so that nothing vanishes.
CREATE TABLE kafka_rejects (
    topic          text COLLATE "C" NOT NULL,
    partition      integer NOT NULL,
    record_offset  bigint NOT NULL,
    record_key     bytea,
    record_value   bytea,
    message        text NOT NULL,                     -- why
    rejected_at    timestamptz NOT NULL,
    CONSTRAINT kafka_rejects_pk PRIMARY KEY (topic, partition, record_offset)
);
-- ───────────────────────────────────────────────────────────── copies of boards

-- How far each writer has changed a board that has a copy in Redis: what is copied is current where it knows all of these
-- stamps. Written in the transaction of the change, by every writer. See docs/decisions/0024-board-copies.md.
CREATE TABLE board_marks (
    project_id    integer NOT NULL,
    board_period  integer NOT NULL,
    shard         smallint NOT NULL,                  -- the writer's
    stamp         bigint NOT NULL,                    -- board_stamp()
    CONSTRAINT board_marks_pk PRIMARY KEY (project_id, board_period, shard)
) WITH (fillfactor = 50);

CREATE SEQUENCE board_stamps;

-- A stamp above all that were drawn before, whose last 20 bits nobody can meet again by chance.
CREATE FUNCTION board_stamp() RETURNS bigint
LANGUAGE sql VOLATILE
RETURN nextval('board_stamps') * 1048576 + floor(random() * 1048576)::bigint;

-- An entry as 24 bytes that sort as (lead, reached_at, user_id) do.
CREATE FUNCTION board_place(lead bigint, reached_at timestamptz, user_id bigint) RETURNS bytea
LANGUAGE sql STABLE PARALLEL SAFE
RETURN int8send(lead # '-9223372036854775808'::bigint)
    || set_byte(timestamptz_send(reached_at), 0, get_byte(timestamptz_send(reached_at), 0) # 128)
    || int8send(user_id # '-9223372036854775808'::bigint);

-- ───────────────────────────────────────────────────────────── deliveries

-- Messages to receivers outside: each is written in the transaction of what it tells of, and sent until it is answered. The
-- customer's user id is not here: it is put into the body when that is sent. See docs/decisions/0025-deliveries.md.
CREATE TABLE deliveries (
    project_id   integer NOT NULL,
    id           text COLLATE "C" NOT NULL,           -- the causing event's: what the receiver tells repeats by
    user_id      bigint NOT NULL,
    type         text COLLATE "C" NOT NULL,           -- store.redeemed
    data         json NOT NULL,                       -- as of the notice
    at           timestamptz NOT NULL,                -- the causing event's occurredAt
    traceparent  text,                                -- of the request that caused it
    status       text COLLATE "C" NOT NULL DEFAULT 'PENDING',  -- PENDING → DELIVERED | FAILED | CANCELLED (settled by hand)
    tries        integer NOT NULL DEFAULT 0,          -- begun
    due_at       timestamptz NOT NULL DEFAULT now(),  -- when to send it next; while it has an owner, when the lease ends
    owner        uuid,                                -- of this try; NULL: nobody sends it
    answer       text COLLATE "C",                    -- to the last try: a status, or what went wrong
    created_at   timestamptz NOT NULL DEFAULT now(),
    settled_at   timestamptz,
    CONSTRAINT deliveries_pk PRIMARY KEY (project_id, id),
    CONSTRAINT deliveries_status_is_known CHECK (status IN ('PENDING', 'DELIVERED', 'FAILED', 'CANCELLED')),
    CONSTRAINT deliveries_are_settled_once CHECK ((status = 'PENDING') = (settled_at IS NULL)),
    CONSTRAINT deliveries_settled_have_no_owner CHECK (status = 'PENDING' OR owner IS NULL),
    CONSTRAINT deliveries_tries_never_negative CHECK (tries >= 0)
) WITH (fillfactor = 80);
CREATE INDEX deliveries_due ON deliveries (project_id, due_at, id) WHERE status = 'PENDING';

-- ───────────────────────────────────────────────────────────── boards

-- One period of one board. Entries and counts carry its number, because comparing names is dear where every event writes.
CREATE TABLE board_periods (
    id          integer GENERATED ALWAYS AS IDENTITY,
    project_id  integer NOT NULL,
    board       text COLLATE "C" NOT NULL,
    period      text COLLATE "C" NOT NULL,            -- 2026-11-21 | 2026-W47 | 2026-11 | 2026 | all-time
    copy        uuid,                                 -- the name of its copy in Redis; NULL: it has none
    copied_at   timestamptz,                          -- when the copy was looked after last
    CONSTRAINT board_periods_pk PRIMARY KEY (id),
    CONSTRAINT board_periods_are_unique UNIQUE (project_id, board, period)
);

-- Rank order is (lead, reached_at, user_id) ascending, one row comparison; hence the score is kept negated.
CREATE TABLE board_entries (
    project_id    integer NOT NULL,
    board_period  integer NOT NULL,
    user_id       bigint NOT NULL,
    lead          bigint NOT NULL,                    -- the score, negated
    reached_at    timestamptz NOT NULL,               -- occurredAt of the event behind the score; see docs/explanation/boards.md
    rest          integer,                            -- of a sum of fractions what the score leaves out, in billionths of a point
    CONSTRAINT board_entries_pk PRIMARY KEY (project_id, board_period, user_id)
) WITH (fillfactor = 80);
CREATE INDEX board_entries_by_rank ON board_entries (project_id, board_period, lead, reached_at, user_id);

-- How many entries lie in each range of scores, so that a rank counts inside one range only. Each writer adds to a
-- shard of its own, so no two meet on a row; a range's count is the sum of its shards (a shard may be negative).
CREATE TABLE board_counts (
    project_id    integer NOT NULL,
    board_period  integer NOT NULL,
    bucket        integer NOT NULL,                   -- board_bucket(score)
    part          integer NOT NULL,                   -- of a crowded bucket, see board_parts; 0 for the others
    shard         smallint NOT NULL,
    entries       bigint NOT NULL,
    CONSTRAINT board_counts_pk PRIMARY KEY (project_id, board_period, bucket, part, shard)
) WITH (fillfactor = 50);

-- A crowded bucket (a million users with one score) is split into parts, each beginning at a place in rank order.
-- The first part of a bucket begins at -infinity; a bucket without parts is counted whole, as part 0.
CREATE TABLE board_parts (
    project_id    integer NOT NULL,
    board_period  integer NOT NULL,
    bucket        integer NOT NULL,
    part          integer NOT NULL,                   -- a name, not a position
    from_lead     bigint NOT NULL,
    from_at       timestamptz NOT NULL,
    from_user     bigint NOT NULL,
    CONSTRAINT board_parts_pk PRIMARY KEY (project_id, board_period, bucket, from_lead, from_at, from_user),
    CONSTRAINT board_parts_are_named UNIQUE (project_id, board_period, bucket, part)
);

-- Buckets and parts that a writer saw grow too large; maintenance splits them.
CREATE TABLE board_crowds (
    project_id    integer NOT NULL,
    board_period  integer NOT NULL,
    bucket        integer NOT NULL,
    part          integer NOT NULL,
    CONSTRAINT board_crowds_pk PRIMARY KEY (project_id, board_period, bucket, part)
);

-- The range a score falls in: exact below 128, above that 64 ranges to each doubling, mirrored for negative scores.
-- The array holds the powers of two from 2^6 to 2^62.
CREATE FUNCTION board_bucket(score bigint) RETURNS integer
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE
    WHEN score BETWEEN -127 AND 127 THEN score::integer
    ELSE sign(score)::integer * (
        64 * (width_bucket(abs(score), '{64,128,256,512,1024,2048,4096,8192,16384,32768,65536,131072,262144,524288,1048576,2097152,4194304,8388608,16777216,33554432,67108864,134217728,268435456,536870912,1073741824,2147483648,4294967296,8589934592,17179869184,34359738368,68719476736,137438953472,274877906944,549755813888,1099511627776,2199023255552,4398046511104,8796093022208,17592186044416,35184372088832,70368744177664,140737488355328,281474976710656,562949953421312,1125899906842624,2251799813685248,4503599627370496,9007199254740992,18014398509481984,36028797018963968,72057594037927936,144115188075855872,288230376151711744,576460752303423488,1152921504606846976,2305843009213693952,4611686018427387904}'::bigint[]) - 1)
        + (abs(score) >> (width_bucket(abs(score), '{64,128,256,512,1024,2048,4096,8192,16384,32768,65536,131072,262144,524288,1048576,2097152,4194304,8388608,16777216,33554432,67108864,134217728,268435456,536870912,1073741824,2147483648,4294967296,8589934592,17179869184,34359738368,68719476736,137438953472,274877906944,549755813888,1099511627776,2199023255552,4398046511104,8796093022208,17592186044416,35184372088832,70368744177664,140737488355328,281474976710656,562949953421312,1125899906842624,2251799813685248,4503599627370496,9007199254740992,18014398509481984,36028797018963968,72057594037927936,144115188075855872,288230376151711744,576460752303423488,1152921504606846976,2305843009213693952,4611686018427387904}'::bigint[]) - 1))::integer)
END;

-- The lowest score of a range; numeric, because the range above the last one starts beyond bigint.
CREATE FUNCTION board_bucket_floor(bucket integer) RETURNS numeric
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE
    WHEN bucket BETWEEN -127 AND 127 THEN bucket
    WHEN bucket > 0 THEN (bucket % 64 + 64) * 2::numeric ^ (bucket / 64 - 1)
    ELSE 1 - ((1 - bucket) % 64 + 64) * 2::numeric ^ ((1 - bucket) / 64 - 1)
END;

-- How many entries stand before a place in rank order: those of higher buckets and of earlier parts are summed, those
-- of the place's own part are counted. With place_at = -infinity it counts the entries with a higher score.
CREATE FUNCTION board_before(of_project integer, of_period integer, place_lead bigint, place_at timestamptz, place_user bigint)
RETURNS bigint LANGUAGE plpgsql STABLE PARALLEL SAFE AS $$
DECLARE
    own     integer := board_bucket(-place_lead);
    start   board_parts;
    summed  bigint;
    earlier bigint := 0;
    inside  bigint;
    counted bigint;
BEGIN
    SELECT coalesce(sum(entries), 0) INTO summed
    FROM board_counts
    WHERE project_id = of_project AND board_period = of_period AND bucket > own;
    SELECT * INTO start
    FROM board_parts
    WHERE project_id = of_project AND board_period = of_period AND bucket = own
        AND (from_lead, from_at, from_user) <= (place_lead, place_at, place_user)
    ORDER BY from_lead DESC, from_at DESC, from_user DESC LIMIT 1;
    IF FOUND AND start.from_at > '-infinity' THEN
        SELECT coalesce(sum(entries), 0) INTO earlier
        FROM board_counts
        WHERE project_id = of_project AND board_period = of_period AND bucket = own AND part = ANY (ARRAY(
            SELECT part FROM board_parts
            WHERE project_id = of_project AND board_period = of_period AND bucket = own
                AND (from_lead, from_at, from_user) < (start.from_lead, start.from_at, start.from_user)));
    ELSE
        start.from_lead := greatest(1 - board_bucket_floor(own + 1), -9223372036854775807);
        start.from_at := '-infinity';
        start.from_user := 0;
    END IF;
    SELECT coalesce(sum(entries), 0) INTO inside
    FROM board_counts
    WHERE project_id = of_project AND board_period = of_period AND bucket = own AND part = coalesce(start.part, 0);
    -- An index range does not end where a row comparison fails by its second column, so the limit ends it.
    SELECT count(*) INTO counted FROM (
        SELECT lead, reached_at, user_id
        FROM board_entries
        WHERE project_id = of_project AND board_period = of_period
            AND (lead, reached_at, user_id) >= (start.from_lead, start.from_at, start.from_user) AND lead <= place_lead
        ORDER BY lead, reached_at, user_id LIMIT inside) AS e
    WHERE (lead, reached_at, user_id) < (place_lead, place_at, place_user);
    RETURN summed + earlier + counted;
END $$;

-- How many different scores stand above a place (its dense rank less one). Up to 127 a bucket is one score, and buckets
-- are counted; above, scores are counted in the index: from one to the next where few can differ, in one sweep elsewhere.
CREATE FUNCTION board_scores_above(of_project integer, of_period integer, place_lead bigint)
RETURNS bigint LANGUAGE plpgsql STABLE PARALLEL SAFE AS $$
DECLARE
    exact   bigint;
    total   bigint := 0;
    counted bigint;
    entries bigint;
    differ  bigint;
    side    record;
BEGIN
    SELECT count(*) INTO exact FROM (
        SELECT FROM board_counts c
        WHERE c.project_id = of_project AND c.board_period = of_period
            AND c.bucket > board_bucket(-place_lead) AND c.bucket BETWEEN -127 AND 127
        GROUP BY c.bucket HAVING sum(c.entries) > 0) AS buckets;
    FOR side IN
        SELECT -9223372036854775807 AS low, least(place_lead, -127) AS high
        UNION ALL SELECT 128, place_lead WHERE place_lead > 128
    LOOP
        SELECT coalesce(sum(b.entries), 0), coalesce(sum(least(b.entries, b.width)), 0) INTO entries, differ FROM (
            SELECT sum(c.entries) AS entries, board_bucket_floor(c.bucket + 1) - board_bucket_floor(c.bucket) AS width
            FROM board_counts c
            WHERE c.project_id = of_project AND c.board_period = of_period
                AND c.bucket BETWEEN board_bucket(1 - side.high) AND board_bucket(-side.low)
            GROUP BY c.bucket) AS b;
        IF differ * 25 < entries THEN
            WITH RECURSIVE step AS (
                (SELECT e.lead FROM board_entries e
                 WHERE e.project_id = of_project AND e.board_period = of_period AND e.lead >= side.low AND e.lead < side.high
                 ORDER BY e.lead LIMIT 1)
                UNION ALL
                SELECT (SELECT e.lead FROM board_entries e
                        WHERE e.project_id = of_project AND e.board_period = of_period
                            AND e.lead > step.lead AND e.lead < side.high
                        ORDER BY e.lead LIMIT 1)
                FROM step WHERE step.lead IS NOT NULL)
            SELECT count(lead) INTO counted FROM step;
        ELSE
            SELECT count(*) INTO counted FROM (
                SELECT DISTINCT e.lead FROM board_entries e
                WHERE e.project_id = of_project AND e.board_period = of_period
                    AND e.lead >= side.low AND e.lead < side.high) AS scores;
        END IF;
        total := total + counted;
    END LOOP;
    RETURN exact + total;
END $$;

-- ───────────────────────────────────────────────────────────── facts do not change

CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    -- Pruning drops whole months, which fires no trigger; single old rows it takes out of the default partitions alone.
    IF TG_OP = 'DELETE' AND TG_TABLE_NAME IN ('events_default', 'notices_default')
        AND current_setting('questline.pruning', true) = 'on' THEN
        RETURN OLD;
    END IF;
    RAISE EXCEPTION '% is append-only: % is refused', TG_TABLE_NAME, TG_OP
        USING ERRCODE = 'restrict_violation', HINT = 'Reverse a transfer with another transfer; drop old events by partition.';
END $$;

CREATE TRIGGER events_are_immutable BEFORE UPDATE OR DELETE ON events
    FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER notices_are_append_only BEFORE UPDATE OR DELETE ON notices
    FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER transfers_are_append_only BEFORE UPDATE OR DELETE ON transfers
    FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER audit_log_is_append_only BEFORE UPDATE OR DELETE ON audit_log
    FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER program_versions_are_immutable BEFORE UPDATE OR DELETE ON program_versions
    FOR EACH ROW EXECUTE FUNCTION refuse_change();

-- ───────────────────────────────────────────────────────────── partitions

-- Create one month's partitions of events, attempts, decisions and notices where they are missing. It runs as the owner, so
-- that a worker, which owns no table, can make them in time; it takes nothing but a month. Bounds are the lowest UUIDv7 of
-- the months: 48 bits of Unix milliseconds, then zeros.
CREATE FUNCTION make_partitions(month date) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    first date := date_trunc('month', month)::date;
    low uuid := rpad(lpad(to_hex(extract(epoch FROM first)::bigint * 1000), 12, '0'), 32, '0')::uuid;
    high uuid := rpad(lpad(to_hex(extract(epoch FROM first + interval '1 month')::bigint * 1000), 12, '0'), 32, '0')::uuid;
    partitioned text;
BEGIN
    PERFORM pg_advisory_xact_lock(x'716c7074'::integer);  -- one maker at a time
    FOREACH partitioned IN ARRAY ARRAY['events', 'attempts', 'decisions', 'notices'] LOOP
        CONTINUE WHEN to_regclass(format('public.%I', partitioned || to_char(first, '_YYYY_MM'))) IS NOT NULL;
        BEGIN
            EXECUTE format('CREATE TABLE %I PARTITION OF %I FOR VALUES FROM (%L) TO (%L)',
                           partitioned || to_char(first, '_YYYY_MM'), partitioned, low, high);
        EXCEPTION WHEN check_violation THEN
            -- A month that was let slip has rows in the default partition; they stay there, and so does what follows.
            RAISE WARNING 'rows of % lie in %_default', to_char(first, 'YYYY-MM'), partitioned;
        END;
    END LOOP;
END $$;
REVOKE EXECUTE ON FUNCTION make_partitions FROM PUBLIC;
GRANT EXECUTE ON FUNCTION make_partitions TO questline_service;

-- ───────────────────────────────────────────────────────────── who may do what

GRANT SELECT, INSERT, UPDATE ON organizations, projects, api_keys TO questline_service;
GRANT SELECT, INSERT ON program_versions, events, attempts, decisions, transfers, check_ins, notices TO questline_service;
GRANT SELECT, INSERT, UPDATE ON users, balances, metrics, streaks, rule_uses, achievements TO questline_service;
GRANT SELECT, INSERT ON metric_values TO questline_service;
GRANT SELECT, INSERT, UPDATE ON guard_marks, suspicions, blocks, reviews TO questline_service;
GRANT SELECT, INSERT, UPDATE, DELETE ON sightings, board_hidden TO questline_service;
GRANT UPDATE (status, reason) ON decisions TO questline_service;
GRANT SELECT, INSERT, UPDATE, DELETE ON outbox, workers, partition_leases, dedupe_keys, dead_letters TO questline_service;
GRANT SELECT, INSERT, UPDATE ON season_ends, season_results, league_weeks, league_tiers, league_members, league_standings TO questline_service;
GRANT SELECT, INSERT, UPDATE, DELETE ON board_periods, board_entries, board_counts, board_parts, board_crowds TO questline_service;
GRANT SELECT, INSERT, UPDATE ON vitals, items, boosts, tiers TO questline_service;
GRANT SELECT, INSERT, UPDATE ON referral_codes, referrals, commissions TO questline_service;
GRANT SELECT, INSERT, UPDATE ON reminders TO questline_service;
GRANT SELECT, INSERT, UPDATE ON metric_windows, achievement_progress, streak_choices, sweeps TO questline_service;
GRANT SELECT, INSERT, UPDATE ON quests TO questline_service;
GRANT SELECT, INSERT, UPDATE ON anonymous_links TO questline_service;
GRANT SELECT, INSERT, DELETE ON anonymous_events TO questline_service;
GRANT SELECT ON anonymous_links, anonymous_events TO questline_tenant;
GRANT SELECT, INSERT, UPDATE ON event_types TO questline_service;
GRANT SELECT ON event_types TO questline_tenant;
GRANT SELECT, INSERT, DELETE ON kept_replies TO questline_service;
GRANT SELECT, INSERT, UPDATE, DELETE ON retries, parked_users TO questline_service;
GRANT SELECT ON retries, parked_users TO questline_tenant;
GRANT SELECT, INSERT, UPDATE ON replays TO questline_service;
GRANT SELECT ON replays TO questline_tenant;
GRANT SELECT, INSERT, UPDATE, DELETE ON api_processes TO questline_service;
GRANT SELECT ON pruned TO questline_service, questline_tenant;
GRANT SELECT, INSERT, UPDATE ON kafka_offsets TO questline_service;
GRANT SELECT, INSERT, DELETE ON kafka_rejects TO questline_service;

GRANT SELECT ON projects, program_versions, users, events, outbox, attempts, decisions, dead_letters, transfers, balances,
    metrics, metric_values, streaks, rule_uses, achievements, board_periods, board_entries, board_counts, board_parts, dedupe_keys TO questline_tenant;
GRANT SELECT ON vitals, items, check_ins, notices, boosts, tiers TO questline_tenant;
GRANT SELECT ON referral_codes, referrals, commissions TO questline_tenant;
GRANT SELECT ON reminders TO questline_tenant;
GRANT SELECT ON metric_windows, achievement_progress, streak_choices, quests TO questline_tenant;
GRANT SELECT ON season_ends, season_results, league_weeks, league_tiers, league_members, league_standings TO questline_tenant;
GRANT SELECT ON guard_marks, suspicions, blocks, reviews, sightings TO questline_tenant;
GRANT SELECT, INSERT, UPDATE ON api_keys, sweeps TO questline_tenant;
GRANT INSERT ON program_versions TO questline_tenant;
GRANT UPDATE ON projects TO questline_tenant;

GRANT SELECT, INSERT ON signing_secrets TO questline_service;
GRANT SELECT, INSERT, UPDATE, DELETE ON signing_secrets TO questline_tenant;
GRANT SELECT, INSERT, DELETE ON signature_nonces TO questline_service;
GRANT UPDATE (expires_at) ON signature_nonces TO questline_service;  -- rows are locked to be swept, never changed
GRANT SELECT, INSERT, UPDATE ON credentials TO questline_service;
GRANT SELECT, INSERT, UPDATE, DELETE ON user_sessions, password_resets TO questline_service;

GRANT SELECT, INSERT, UPDATE ON grants, badges, allowances, fulfilments, stocks, coupons TO questline_service;
GRANT SELECT ON grants, badges, allowances, fulfilments, stocks, coupons TO questline_tenant;
GRANT INSERT, UPDATE ON stocks TO questline_tenant;  -- uploads of codes are the tenant's
GRANT INSERT ON coupons TO questline_tenant;

GRANT SELECT, INSERT, UPDATE ON deliveries TO questline_service;
GRANT SELECT ON deliveries TO questline_tenant;

GRANT SELECT, INSERT, UPDATE, DELETE ON board_marks TO questline_service;
GRANT SELECT ON board_marks TO questline_tenant;
GRANT USAGE ON SEQUENCE board_stamps TO questline_service;

GRANT SELECT, INSERT, UPDATE ON members, invitations TO questline_service;
GRANT SELECT, INSERT, UPDATE, DELETE ON memberships, member_sessions, member_password_resets TO questline_service;
GRANT SELECT, INSERT ON audit_log TO questline_service;
GRANT SELECT, INSERT ON audit_log TO questline_tenant;

-- The second lock behind tenant-first queries. A tenant that forgot its WHERE sees its own project; one that forgot
-- to say which project it is sees nothing.
CREATE FUNCTION current_project() RETURNS integer
LANGUAGE sql STABLE PARALLEL SAFE
RETURN nullif(current_setting('questline.project_id', true), '')::integer;

DO $$
DECLARE
    tenant_table text;
BEGIN
    FOREACH tenant_table IN ARRAY ARRAY[
        'api_keys', 'program_versions', 'users', 'events', 'dedupe_keys', 'outbox', 'attempts', 'decisions',
        'dead_letters', 'transfers', 'balances', 'metrics', 'metric_values', 'streaks', 'rule_uses', 'achievements',
        'vitals', 'items', 'check_ins', 'notices', 'boosts', 'tiers',
        'referral_codes', 'referrals', 'commissions',
        'reminders',
        'event_types', 'kept_replies',
        'signing_secrets', 'signature_nonces', 'credentials', 'user_sessions', 'password_resets',
        'retries', 'parked_users', 'replays',
        'metric_windows', 'achievement_progress', 'streak_choices', 'sweeps', 'quests',
        'season_ends', 'season_results', 'league_weeks', 'league_tiers', 'league_members', 'league_standings',
        'guard_marks', 'sightings', 'suspicions', 'blocks', 'reviews', 'board_hidden',
        'grants', 'badges', 'allowances', 'fulfilments', 'stocks', 'coupons',
        'audit_log',
        'anonymous_links', 'anonymous_events',
        'deliveries',
        'board_marks',
        'board_periods', 'board_entries', 'board_counts', 'board_parts', 'board_crowds']
    LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', tenant_table);
        EXECUTE format('CREATE POLICY tenant_sees_its_project ON %I TO questline_tenant '
                       'USING (project_id = current_project()) WITH CHECK (project_id = current_project())', tenant_table);
        EXECUTE format('CREATE POLICY service_sees_all ON %I TO questline_service USING (true) WITH CHECK (true)', tenant_table);
    END LOOP;
END $$;
ALTER TABLE projects ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant_sees_its_project ON projects TO questline_tenant
    USING (id = current_project()) WITH CHECK (id = current_project());
CREATE POLICY service_sees_all ON projects TO questline_service USING (true) WITH CHECK (true);
