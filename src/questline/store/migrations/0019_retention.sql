-- Retention: notices lie in months as events do, what was pruned is remembered, and single old rows of default partitions
-- may be taken out.

ALTER TABLE notices RENAME TO notices_before;
ALTER TABLE notices_before RENAME CONSTRAINT notices_pk TO notices_before_pk;
ALTER INDEX notices_by_user RENAME TO notices_before_by_user;
DO $$
DECLARE
    taken name;
BEGIN
    FOR taken IN SELECT conname FROM pg_constraint WHERE conrelid = 'notices_before'::regclass AND contype = 'n' LOOP
        EXECUTE format('ALTER TABLE notices_before RENAME CONSTRAINT %I TO %I', taken, 'before_' || taken);  -- PostgreSQL 18
    END LOOP;
END $$;

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

-- Create one month's partitions of events, attempts, decisions and notices where they are missing. It runs as the owner, so
-- that a worker, which owns no table, can make them in time; it takes nothing but a month. Bounds are the lowest UUIDv7 of
-- the months: 48 bits of Unix milliseconds, then zeros.
CREATE OR REPLACE FUNCTION make_partitions(month date) RETURNS void
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

-- Notices that are there go into the partitions of their months.
DO $$
DECLARE
    oldest timestamptz;
    newest timestamptz;
    month date;
BEGIN
    SELECT to_timestamp(('x' || left(replace(min(event_id::text), '-', ''), 12))::bit(48)::bigint / 1000),
           to_timestamp(('x' || left(replace(max(event_id::text), '-', ''), 12))::bit(48)::bigint / 1000)
    INTO oldest, newest FROM notices_before;
    FOR month IN
        SELECT first::date FROM generate_series(date_trunc('month', oldest AT TIME ZONE 'UTC'), newest AT TIME ZONE 'UTC',
                                                interval '1 month') AS first
    LOOP
        PERFORM make_partitions(month);
    END LOOP;
END $$;
INSERT INTO notices SELECT * FROM notices_before;
DROP TABLE notices_before;

CREATE OR REPLACE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    -- Pruning drops whole months, which fires no trigger; single old rows it takes out of the default partitions alone.
    IF TG_OP = 'DELETE' AND TG_TABLE_NAME IN ('events_default', 'notices_default')
        AND current_setting('questline.pruning', true) = 'on' THEN
        RETURN OLD;
    END IF;
    RAISE EXCEPTION '% is append-only: % is refused', TG_TABLE_NAME, TG_OP
        USING ERRCODE = 'restrict_violation', HINT = 'Reverse a transfer with another transfer; drop old events by partition.';
END $$;
CREATE TRIGGER notices_are_append_only BEFORE UPDATE OR DELETE ON notices
    FOR EACH ROW EXECUTE FUNCTION refuse_change();

-- What retention has taken away: of a class, what was received before `before` may be gone.
CREATE TABLE pruned (
    class   text COLLATE "C" NOT NULL,                -- events | attempts | notices | keys
    before  timestamptz,                              -- NULL: nothing yet
    at      timestamptz NOT NULL,                     -- when it was gone over last
    CONSTRAINT pruned_pk PRIMARY KEY (class),
    CONSTRAINT pruned_class_is_known CHECK (class IN ('events', 'attempts', 'notices', 'keys'))
);

GRANT SELECT, INSERT ON notices TO questline_service;
GRANT SELECT ON notices TO questline_tenant;
GRANT SELECT ON pruned TO questline_service, questline_tenant;

ALTER TABLE notices ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant_sees_its_project ON notices TO questline_tenant
    USING (project_id = current_project()) WITH CHECK (project_id = current_project());
CREATE POLICY service_sees_all ON notices TO questline_service USING (true) WITH CHECK (true);
