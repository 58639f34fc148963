-- A number stands for a week of a league in a zone, so that each look-up of a member has one index that fits.

ALTER TABLE league_weeks DROP CONSTRAINT league_weeks_pk;
ALTER TABLE league_weeks ADD COLUMN id integer GENERATED ALWAYS AS IDENTITY;
ALTER TABLE league_weeks ADD CONSTRAINT league_weeks_pk PRIMARY KEY (id);
ALTER TABLE league_weeks ADD CONSTRAINT league_weeks_are_unique UNIQUE (project_id, league, week, zone);

ALTER TABLE league_tiers ADD COLUMN league_week integer;
UPDATE league_tiers t SET league_week = w.id FROM league_weeks w
WHERE w.project_id = t.project_id AND w.league = t.league AND w.week = t.week AND w.zone = t.zone;
ALTER TABLE league_tiers ALTER COLUMN league_week SET NOT NULL;
ALTER TABLE league_tiers DROP CONSTRAINT league_tiers_pk;
ALTER TABLE league_tiers DROP COLUMN league, DROP COLUMN week, DROP COLUMN zone;
ALTER TABLE league_tiers ADD CONSTRAINT league_tiers_pk PRIMARY KEY (project_id, league_week, tier);

DROP INDEX league_members_by_cohort;
ALTER TABLE league_members ADD COLUMN league_week integer;
UPDATE league_members m SET league_week = w.id FROM league_weeks w
WHERE w.project_id = m.project_id AND w.league = m.league AND w.week = m.week AND w.zone = m.zone;
ALTER TABLE league_members ALTER COLUMN league_week SET NOT NULL;
ALTER TABLE league_members DROP CONSTRAINT league_members_pk;
ALTER TABLE league_members DROP COLUMN zone;
ALTER TABLE league_members ADD CONSTRAINT league_members_pk PRIMARY KEY (project_id, user_id, league, week);
CREATE INDEX league_members_by_cohort ON league_members (league_week, tier, cohort);

DROP INDEX season_results_by_user;
