-- Rolling windows of metrics, progress that customers report, what users chose for their streaks, and sweeps: one event sent
-- to each of many users, in bounded batches.

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

-- Periods may be excused before any is active, so that a pause and an event give the same in either order.
ALTER TABLE streaks DROP CONSTRAINT streaks_longest_is_longest;
ALTER TABLE streaks ADD CONSTRAINT streaks_longest_is_longest CHECK (longest >= length AND length >= 0);

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

GRANT SELECT, INSERT, UPDATE ON metric_windows, achievement_progress, streak_choices, sweeps TO questline_service;
GRANT SELECT ON metric_windows, achievement_progress, streak_choices TO questline_tenant;
GRANT SELECT, INSERT, UPDATE ON sweeps TO questline_tenant;

DO $$
DECLARE
    tenant_table text;
BEGIN
    FOREACH tenant_table IN ARRAY ARRAY['metric_windows', 'achievement_progress', 'streak_choices', 'sweeps'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', tenant_table);
        EXECUTE format('CREATE POLICY tenant_sees_its_project ON %I TO questline_tenant '
                       'USING (project_id = current_project()) WITH CHECK (project_id = current_project())', tenant_table);
        EXECUTE format('CREATE POLICY service_sees_all ON %I TO questline_service USING (true) WITH CHECK (true)', tenant_table);
    END LOOP;
END $$;
