-- Seasons and leagues: their ends, weeks, cohorts and results.

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
CREATE INDEX season_results_by_user ON season_results (project_id, user_id);

-- One week of a league, on the clocks of one zone: open → closed (nobody joins, no score moves) → settled.
CREATE TABLE league_weeks (
    project_id   integer NOT NULL,
    league       text COLLATE "C" NOT NULL,
    week         integer NOT NULL,                    -- its number, see model/calendar.py
    zone         text COLLATE "C" NOT NULL,
    closes_at    timestamptz NOT NULL,                -- an event received from then on does not count
    closed_at    timestamptz,
    done_tier    smallint NOT NULL DEFAULT 0,         -- cohorts up to this one have their results
    done_cohort  integer NOT NULL DEFAULT 0,
    settled_at   timestamptz,
    CONSTRAINT league_weeks_pk PRIMARY KEY (project_id, league, week, zone),
    CONSTRAINT league_weeks_close_before_they_settle CHECK (settled_at IS NULL OR closed_at IS NOT NULL)
);
CREATE INDEX league_weeks_due ON league_weeks (closes_at) WHERE settled_at IS NULL;

-- The cohort of a tier that newcomers join, and how many it has. Taken after all other locks, and held until the commit.
CREATE TABLE league_tiers (
    project_id  integer NOT NULL,
    league      text COLLATE "C" NOT NULL,
    week        integer NOT NULL,
    zone        text COLLATE "C" NOT NULL,
    tier        smallint NOT NULL,                    -- from 1, the lowest
    cohort      integer NOT NULL,                     -- from 0
    members     integer NOT NULL,
    size        integer NOT NULL,                     -- how many a cohort could have when somebody joined last
    CONSTRAINT league_tiers_pk PRIMARY KEY (project_id, league, week, zone, tier),
    CONSTRAINT league_tiers_never_overfull CHECK (members BETWEEN 1 AND size)
) WITH (fillfactor = 50);

-- A user in a week of a league. Without a cohort they wait for the result of their last week, which decides their tier.
CREATE TABLE league_members (
    project_id  integer NOT NULL,
    league      text COLLATE "C" NOT NULL,
    user_id     bigint NOT NULL,
    week        integer NOT NULL,
    zone        text COLLATE "C" NOT NULL,
    tier        smallint,
    cohort      integer,
    score       bigint NOT NULL,
    reached_at  timestamptz NOT NULL,                 -- as on boards
    rank        integer,                              -- the result, kept for ever; NULL with an outcome: blocked, not ranked
    outcome     text COLLATE "C",                     -- promoted | demoted | stayed
    next_tier   smallint,
    CONSTRAINT league_members_pk PRIMARY KEY (project_id, league, user_id, week),
    CONSTRAINT league_members_are_seated_whole CHECK ((tier IS NULL) = (cohort IS NULL)),
    CONSTRAINT league_members_outcome_is_known CHECK (outcome IN ('promoted', 'demoted', 'stayed')),
    CONSTRAINT league_members_outcome_has_a_tier CHECK ((outcome IS NULL) = (next_tier IS NULL))
) WITH (fillfactor = 80);
CREATE INDEX league_members_by_cohort ON league_members (project_id, league, week, zone, tier, cohort);

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

GRANT SELECT, INSERT, UPDATE ON season_ends, season_results, league_weeks, league_tiers, league_members, league_standings TO questline_service;
GRANT SELECT ON season_ends, season_results, league_weeks, league_tiers, league_members, league_standings TO questline_tenant;

DO $$
DECLARE
    tenant_table text;
BEGIN
    FOREACH tenant_table IN ARRAY ARRAY[
        'season_ends', 'season_results', 'league_weeks', 'league_tiers', 'league_members', 'league_standings']
    LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', tenant_table);
        EXECUTE format('CREATE POLICY tenant_sees_its_project ON %I TO questline_tenant '
                       'USING (project_id = current_project()) WITH CHECK (project_id = current_project())', tenant_table);
        EXECUTE format('CREATE POLICY service_sees_all ON %I TO questline_service USING (true) WITH CHECK (true)', tenant_table);
    END LOOP;
END $$;
