-- Rows of before steps and tiers had marks get them, in a transaction of its own: workers that are running wait for no table, and
-- for a row only while they need it. A row without a mark is read by its places, as ever.

-- Places were read by the program in force, and stay dormant where it has no such name any more.
WITH latest AS MATERIALIZED (
    SELECT DISTINCT ON (v.project_id, d.key) v.project_id, d.key AS tier, d.value -> 'steps' AS steps
    FROM program_versions v, json_each(v.document -> 'tiers') d
    ORDER BY v.project_id, d.key, v.version DESC
)
UPDATE tiers t SET marks = json_build_array(
    json_build_array(t.step, steps -> least(t.step, json_array_length(steps) - 1) -> 'name',
                     steps -> least(t.step, json_array_length(steps) - 1) -> 'at'),
    json_build_array(t.best, steps -> least(t.best, json_array_length(steps) - 1) -> 'name',
                     steps -> least(t.best, json_array_length(steps) - 1) -> 'at')
)
FROM latest l WHERE l.project_id = t.project_id AND l.tier = t.tier;

WITH latest AS MATERIALIZED (
    SELECT DISTINCT ON (v.project_id, d.key) v.project_id, d.key AS achievement, d.value -> 'tiers' AS tiers
    FROM program_versions v, json_each(v.document -> 'achievements') d
    ORDER BY v.project_id, d.key, v.version DESC
)
UPDATE achievements a SET mark = json_build_array(a.tier, l.tiers -> (a.tier - 1) -> 'threshold')
FROM latest l
WHERE l.project_id = a.project_id AND l.achievement = a.achievement AND a.tier <= json_array_length(l.tiers);
