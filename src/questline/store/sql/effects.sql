-- Writes of what a batch decided: one statement a table, parallel arrays in, users locked by the same transaction.

-- name: add_transfers
-- One row a movement. Arrays, a column each.
INSERT INTO transfers (project_id, event_id, ordinal, user_id, currency, debit, credit, amount, rule, program_version, at)
SELECT * FROM unnest($1::integer[], $2::uuid[], $3::smallint[], $4::bigint[], $5::text[], $6::text[], $7::text[],
                     $8::bigint[], $9::text[], $10::integer[], $11::timestamptz[]);

-- name: open_balances
-- First rows of a user's currencies; one that no program names any more may have a row that was not loaded.
INSERT INTO balances AS b (project_id, user_id, currency, amount, level, debt)
SELECT * FROM unnest($1::integer[], $2::bigint[], $3::text[], $4::bigint[], $5::integer[], $6::bigint[])
ON CONFLICT ON CONSTRAINT balances_pk DO UPDATE SET
    amount = b.amount + excluded.amount, level = greatest(b.level, excluded.level), debt = b.debt + excluded.debt;

-- name: move_balances
-- Add to balances that exist: a sum and never an absolute write, so the constraint has the last word.
-- A level of -1 leaves the level as it is.
UPDATE balances b SET amount = b.amount + i.delta, level = greatest(b.level, i.level), debt = b.debt + i.debt
FROM unnest($1::integer[], $2::bigint[], $3::text[], $4::bigint[], $5::integer[], $6::bigint[])
     AS i (project_id, user_id, currency, delta, level, debt)
WHERE b.project_id = i.project_id AND b.user_id = i.user_id AND b.currency = i.currency;

-- name: put_metrics
-- The new value of each metric that changed. Arrays, a column each.
INSERT INTO metrics (project_id, user_id, metric, value, last_at)
SELECT * FROM unnest($1::integer[], $2::bigint[], $3::text[], $4::numeric[], $5::timestamptz[])
ON CONFLICT ON CONSTRAINT metrics_pk DO UPDATE SET value = excluded.value, last_at = excluded.last_at;

-- name: add_metric_values
-- Values that a distinct metric saw for the first time. Arrays, a column each.
INSERT INTO metric_values (project_id, user_id, metric, value_hash)
SELECT * FROM unnest($1::integer[], $2::bigint[], $3::text[], $4::bytea[])
ON CONFLICT ON CONSTRAINT metric_values_pk DO NOTHING;

-- name: put_streaks
-- The sets are united with what is stored, so a writer need not hold the whole set.
INSERT INTO streaks AS s (project_id, user_id, streak, active, excused, run_start, last_period, length, longest, freeze_credit)
SELECT project_id, user_id, streak, active::int4multirange, excused::int4multirange, run_start, last_period, length, longest,
       freeze_credit
FROM unnest($1::integer[], $2::bigint[], $3::text[], $4::text[], $5::text[], $6::integer[], $7::integer[], $8::integer[],
            $9::integer[], $10::integer[])
     AS i (project_id, user_id, streak, active, excused, run_start, last_period, length, longest, freeze_credit)
ON CONFLICT ON CONSTRAINT streaks_pk DO UPDATE SET
    active = s.active + excluded.active, excused = s.excused + excluded.excused,
    run_start = excluded.run_start, last_period = excluded.last_period, length = excluded.length,
    longest = excluded.longest, freeze_credit = excluded.freeze_credit;

-- name: put_rule_uses
-- How often each limited rule has fired now in its window. Arrays, a column each.
INSERT INTO rule_uses (project_id, user_id, rule, window_start, uses)
SELECT * FROM unnest($1::integer[], $2::bigint[], $3::text[], $4::integer[], $5::integer[])
ON CONFLICT ON CONSTRAINT rule_uses_pk DO UPDATE SET uses = excluded.uses;

-- name: put_achievements
-- What was unlocked, reached a higher tier or was earned again. Arrays, a column each.
INSERT INTO achievements (project_id, user_id, achievement, tier, times, event_id, unlocked_at, mark)
SELECT project_id, user_id, achievement, tier, times, event_id, unlocked_at, mark::json
FROM unnest($1::integer[], $2::bigint[], $3::text[], $4::smallint[], $5::integer[], $6::uuid[], $7::timestamptz[], $8::text[])
     AS i (project_id, user_id, achievement, tier, times, event_id, unlocked_at, mark)
ON CONFLICT ON CONSTRAINT achievements_pk DO UPDATE SET
    tier = excluded.tier, times = excluded.times, event_id = excluded.event_id, unlocked_at = excluded.unlocked_at,
    mark = excluded.mark;

-- name: add_decisions
-- One row an event that the engine decided. Arrays, a column each.
INSERT INTO decisions (project_id, event_id, user_id, status, reason, program_version, trace)
SELECT project_id, event_id, user_id, status, reason, program_version, trace::json
FROM unnest($1::integer[], $2::uuid[], $3::bigint[], $4::text[], $5::text[], $6::integer[], $7::text[])
     AS i (project_id, event_id, user_id, status, reason, program_version, trace);

-- name: add_attempts
-- One row a try. Arrays, a column each.
INSERT INTO attempts (project_id, event_id, number, status, reason, message, duration_us, at)
SELECT * FROM unnest($1::integer[], $2::uuid[], $3::smallint[], $4::text[], $5::text[], $6::text[], $7::integer[],
                     $8::timestamptz[]);

-- name: add_dead_letters
-- One row an event that gave up. Arrays, a column each.
INSERT INTO dead_letters (project_id, event_id, user_hash, reason, message, attempts, failed_at)
SELECT * FROM unnest($1::integer[], $2::uuid[], $3::bigint[], $4::text[], $5::text[], $6::smallint[], $7::timestamptz[])
ON CONFLICT ON CONSTRAINT dead_letters_pk DO UPDATE SET
    reason = excluded.reason, message = excluded.message, attempts = excluded.attempts, failed_at = excluded.failed_at,
    mirrored_at = NULL;

-- name: add_notices
-- One row a fact that outward channels tell. Arrays, a column each.
INSERT INTO notices (project_id, event_id, ordinal, user_id, type, data, at)
SELECT project_id, event_id, ordinal, user_id, type, data::json, at
FROM unnest($1::integer[], $2::uuid[], $3::smallint[], $4::bigint[], $5::text[], $6::text[], $7::timestamptz[])
     AS i (project_id, event_id, ordinal, user_id, type, data, at);
