"""Segments, boosts and tiers: what holds, how it stacks, which step is reached."""

from datetime import UTC, datetime
from typing import Any

import pytest

from questline.engine.validate import validate
from questline.model.boosts import BoostState
from questline.model.limits import BOOST_SPANS_MAX
from questline.model.records import RecordKind
from questline.model.tiers import StepMark, TierState
from questline.testing.scenario import Scenario

XP = {"XP": {"kind": "xp", "levels": {"curve": "linear", "base": 100}}, "coins": {"kind": "currency"}}


def boosted(boosts: dict[str, Any], **more: Any) -> Scenario:
    rules = {"task": {"on": "task", "award": {"XP": 10, "coins": 3}}, "other": {"on": "other", "award": {"XP": 10}}}
    return Scenario({"currencies": XP, "rules": rules, "boosts": boosts} | more)


def paid(scenario: Scenario, at: str, type_: str = "task", user: str = "ada") -> dict[str, int]:
    transfers = scenario.play([(at, user, type_, {})])[0].decision.transfers
    return {t.currency: t.amount for t in transfers}


WEEKEND = {"by": 2, "currencies": ["XP"], "from": "2026-12-05T00:00:00Z", "until": "2026-12-07T00:00:00Z"}


@pytest.mark.parametrize(
    ("at", "xp"),
    [
        ("2026-12-04T23:59:59.999999Z", 10), ("2026-12-05T00:00Z", 20), ("2026-12-06T23:59:59.999999Z", 20),
        ("2026-12-07T00:00Z", 10), ("2026-12-07T01:30+02:00", 20),
    ],
)  # fmt: skip
def test_a_boost_holds_by_the_events_own_time_and_for_its_currencies(at: str, xp: int) -> None:
    assert paid(boosted({"weekend": WEEKEND}), at) == {"XP": xp, "coins": 3}


@pytest.mark.parametrize(
    ("boosting", "xp", "coins"),
    [
        ({}, 45, 9), ({"stack": "add"}, 35, 9), ({"stack": "highest"}, 30, 9), ({"max": 2.5}, 25, 8),
        ({"stack": "add", "max": 2}, 20, 6),
    ],
)  # fmt: skip
def test_boosts_stack_as_the_program_says_and_round_once(boosting: dict[str, Any], xp: int, coins: int) -> None:
    boosts = {"a": {"by": 1.5, "currencies": ["XP"]}, "b": {"by": 3}}
    assert paid(boosted(boosts, boosting=boosting), "2026-01-05T12:00Z") == {"XP": xp, "coins": coins}


def test_a_boost_concerns_its_rules_and_its_segment_only() -> None:
    scenario = boosted(
        {"vip": {"by": 2, "rules": ["task"], "segment": "vip"}},
        segments={"vip": {"when": {"field": "user.tier", "op": "eq", "value": "gold"}}},
    )
    scenario.user("bob").attributes = {"tier": "gold"}
    found = [paid(scenario, "2026-01-05T12:00Z", t, u)["XP"] for u in ("ada", "bob") for t in ("task", "other")]
    assert found == [10, 10, 20, 10]


def test_a_personal_boost_lasts_from_when_it_was_given_and_is_prolonged() -> None:
    scenario = boosted(
        {"potion": {"by": 3, "currencies": ["XP"], "lasts": {"duration": 30, "unit": "minutes"}}},
        items={"potion": {"price": {"coins": 1}, "use": [{"boost": "potion"}]}},
    )
    scenario.user().balances["coins"] = 2
    scenario.play([("2026-01-05T12:00Z", "$buy", {"item": "potion", "quantity": 2})])
    before = paid(scenario, "2026-01-05T12:00Z")["XP"]
    scenario.play(
        [("2026-01-05T12:00Z", "$use", {"item": "potion"}), ("2026-01-05T12:10Z", "$use", {"item": "potion"})]
    )
    after = [paid(scenario, f"2026-01-05T{at}Z")["XP"] for at in ("12:29", "12:59", "13:00")]
    assert (before, after) == (10, [30, 30, 10])


POTION = {"potion": {"by": 3, "currencies": ["XP"], "lasts": {"duration": 30, "unit": "minutes"}}}
GIFT = {"gift": {"on": "gift", "rewards": [{"boost": "potion"}]}, "task": {"on": "task", "award": {"XP": 10}}}


def test_what_happened_before_a_personal_boost_is_not_multiplied_however_late_it_comes() -> None:
    scenario = boosted(POTION, rules=GIFT)
    scenario.play([("2026-01-05T12:00Z", "gift", {}), ("2026-01-07T12:00Z", "gift", {})])
    hours = ("05T11:59", "05T12:00", "05T12:29", "05T12:30", "06T12:00", "07T11:59", "07T12:29", "07T12:30")
    assert [paid(scenario, f"2026-01-{at}Z")["XP"] for at in hours] == [10, 30, 30, 10, 10, 10, 30, 10]


def test_a_boost_that_was_kept_without_its_beginning_began_as_long_ago_as_it_lasts() -> None:
    scenario = boosted(POTION, rules=GIFT)
    until = datetime(2026, 1, 5, 12, 30, tzinfo=UTC)
    scenario.user().records[RecordKind.BOOST, "potion"] = BoostState(until)
    hours = ("05T11:59", "05T12:00", "05T12:29", "05T12:30")
    assert [paid(scenario, f"2026-01-{at}Z")["XP"] for at in hours] == [10, 30, 30, 10]
    scenario.play([("2026-01-05T12:10Z", "gift", {})])
    assert [paid(scenario, f"2026-01-{at}Z")["XP"] for at in (*hours, "05T12:59")] == [10, 30, 30, 30, 30]


def test_the_latest_spans_of_a_personal_boost_are_remembered() -> None:
    scenario = boosted(POTION, rules=GIFT)
    days = range(1, 29)
    scenario.play([(f"2026-01-{day:02}T12:00Z", "gift", {}) for day in reversed(days)])
    found = [paid(scenario, f"2026-01-{day:02}T12:10Z")["XP"] for day in days]
    assert found == [10] * (28 - BOOST_SPANS_MAX) + [30] * BOOST_SPANS_MAX


def test_an_award_rounds_as_it_says_under_a_boost() -> None:
    rules = {
        "up": {"on": "up", "award": {"coins": {"value": 5, "round": "half_up"}}},
        "even": {"on": "even", "award": {"coins": 5}},
        "floor": {"on": "floor", "award": {"coins": {"value": 5, "round": "floor"}}},
    }
    scenario = Scenario({"currencies": XP, "rules": rules, "boosts": {"b": {"by": 1.3}}})  # 6.5
    assert [paid(scenario, "2026-01-05T12:00Z", t)["coins"] for t in rules] == [7, 6, 6]


def club(**changes: Any) -> Scenario:
    steps = [
        {"name": "bronze", "at": 0}, {"name": "silver", "at": 100, "rewards": [{"currency": "gems", "value": 7}]},
        {"name": "gold", "at": 300, "rewards": [{"currency": "gems", "value": 20}]},
    ]  # fmt: skip
    return Scenario(
        {
            "currencies": {"coins": {"kind": "currency"}, "gems": {"kind": "currency"}},
            "rules": {"buy": {"on": "buy", "award": {"coins": {"field": "n"}}}},
            "tiers": {"club": {"steps": steps, **(changes or {"earned": "coins"})}},
        }
    )


@pytest.mark.parametrize(
    ("by", "steps"),
    [
        ({"earned": "coins"}, ["bronze", "silver", "silver", "silver", "gold"]),
        ({"balance": "coins"}, ["bronze", "silver", "silver", "silver", "silver"]),
        ({"balance": "coins", "demote": True}, ["bronze", "silver", "bronze", "bronze", "silver"]),
    ],
)
def test_a_step_goes_by_what_was_earned_or_by_what_is_held(by: dict[str, Any], steps: list[str]) -> None:
    scenario, found = club(**by), []
    for type_, payload in (("buy", {"n": 90}), ("buy", {"n": 20}), ("$spend", {"currency": "coins", "amount": 100}),
                           ("buy", {"n": 80}), ("buy", {"n": 120})):  # fmt: skip
        scenario.play([("2026-01-05T12:00Z", type_, payload)])
        state = scenario.user().records.get(("tier", "club"))
        found.append(["bronze", "silver", "gold"][state.step if state else 0])
    assert found == steps
    assert scenario.user().balances["gems"] == (27 if "earned" in by else 7)


@pytest.mark.parametrize(
    ("held", "rows", "gems"),
    [
        (250, [("spend", 200, "silver 250"), ("buy", 40, "silver 290"), ("buy", 10, "gold 300")],  27),
        (50,  [("spend", 40, "bronze 50"),   ("buy", 49, "bronze 99"),  ("buy", 1, "silver 100")], 7),
        (0,   [("buy", 90, "bronze 90"),     ("spend", 90, "bronze 90"), ("buy", 10, "silver 100")], 7),
    ],
)  # fmt: skip
def test_who_was_there_before_the_tiers_begins_with_what_they_hold(
    held: int, rows: list[tuple[str, int, str]], gems: int
) -> None:
    scenario, found = club(), []
    scenario.user().balances["coins"] = held
    for type_, n, _ in rows:
        spend = ("$spend", {"currency": "coins", "amount": n})
        scenario.play([("2026-01-05T12:00Z", *(spend if type_ == "spend" else ("buy", {"n": n})))])
        state = scenario.user().records["tier", "club"]
        found.append(f"{['bronze', 'silver', 'gold'][state.step]} {state.earned}")
    assert found == [stand for _, _, stand in rows]
    assert scenario.user().balances["gems"] == gems


def test_a_jump_over_steps_pays_each_once_and_tells_of_the_move() -> None:
    scenario = club()
    played = scenario.play([("2026-01-05T12:00Z", "buy", {"n": 1_000}), ("2026-01-05T12:01Z", "buy", {"n": 1_000})])
    assert [scenario.user().balances["gems"], played[1].decision.notices] == [27, ()]
    assert [(n.type, n.data) for n in played[0].decision.notices] == [
        ("tier.up", {"tier": "club", "before": "bronze", "after": "gold"})
    ]


@pytest.mark.parametrize("debt", [0, 60, 1_000])
def test_what_consequences_pay_is_earned_for_a_step_even_where_it_pays_a_debt_off(debt: int) -> None:
    scenario = Scenario(
        {
            "currencies": {"coins": {"kind": "currency"}, "gems": {"kind": "currency"}},
            "metrics": {"visits": {"on": "buy", "count": True}},
            "rules": {"buy": {"on": "buy", "award": {"coins": 60}}},
            "achievements": {
                "first": {"title": "First", "requirements": [{"metric": "visits"}], "rewards": [{"currency": "coins", "value": 60}]},
            },
            "tiers": {"club": {"earned": "coins", "steps": [{"name": "bronze", "at": 0}, {"name": "silver", "at": 100}]}},
        }
    )  # fmt: skip
    scenario.user().debts["coins"] = debt
    scenario.play([("2026-01-05T12:00Z", "buy", {})])
    silver = StepMark("silver", 100)
    assert scenario.user().records[RecordKind.TIER, "club"] == TierState(1, 1, 120, silver, silver)


def test_conditions_and_maps_read_the_step_by_its_name() -> None:
    rules = {
        "buy": {"on": "buy", "award": {"coins": {"field": "n"}}},
        "perk": {
            "on": "visit",
            "when": {"field": "tier.club", "op": "ne", "value": "bronze"},
            "award": {"gems": 1},
            "multiply": [{"field": "tier.club", "map": {"gold": 5}}],
        },
    }
    steps = [{"name": "bronze", "at": 0}, {"name": "silver", "at": 100}, {"name": "gold", "at": 300}]
    currencies = {"coins": {"kind": "currency"}, "gems": {"kind": "currency"}}
    scenario = Scenario(
        {"currencies": currencies, "rules": rules, "tiers": {"club": {"earned": "coins", "steps": steps}}}
    )
    rows = [("2026-01-05T12:00Z", "visit", {}), ("2026-01-05T12:00Z", "buy", {"n": 150}), ("2026-01-05T12:00Z", "visit", {}),
            ("2026-01-05T12:00Z", "buy", {"n": 150}), ("2026-01-05T12:00Z", "visit", {})]  # fmt: skip
    gems = [sum(t.amount for t in p.decision.transfers if t.rule == "rule:perk") for p in scenario.play(rows)]
    assert gems == [0, 0, 1, 0, 5]


@pytest.mark.parametrize(
    ("document", "path", "part"),
    [
        ({"boosts": {"b": {"by": 2, "currencies": ["XPP"]}}}, "boosts.b.currencies[0]", "did you mean 'XP'?"),
        ({"boosts": {"b": {"by": 2, "rules": ["r"]}}}, "boosts.b.rules[0]", "there is no rule 'r'"),
        ({"boosts": {"b": {"by": 2, "segment": "s"}}}, "boosts.b.segment", "there is no segment 's'"),
        ({"boosts": {"b": {**WEEKEND, "until": "2026-12-05T00:00:00Z"}}}, "boosts.b.until", "after from"),
        ({"boosts": {"b": {**WEEKEND, "until": "tomorrow"}}}, "boosts.b.until", "wrong form"),
        ({"boosts": {"b": {"by": 2}}, "items": {"i": {"use": [{"boost": "b"}]}}}, "items.i.use[0].boost", "'lasts'"),
        ({"segments": {"s": {"when": {"field": "amount", "op": "gt", "value": 1}}}}, "segments.s.when", "no event"),
        ({"segments": {"s": {"when": {"field": "segment.s", "op": "eq", "value": True}}}}, "segments.s.when", "of segments"),
        ({"segments": {"s": {"when": {"field": "a", "op": "gt"}}}}, "segments.s.when", "lacks 'value'"),
        ({"tiers": {"t": {"steps": [{"name": "a", "at": 0}]}}}, "tiers.t", "exactly one of balance and earned"),
        ({"tiers": {"t": {"earned": "XP", "steps": [{"name": "a", "at": 1}]}}}, "tiers.t.steps", "begin at 0"),
        ({"tiers": {"t": {"earned": "XP", "demote": True, "steps": [{"name": "a", "at": 0}]}}}, "tiers.t.demote", "never falls"),
        ({"rules": {"r": {"on": "e", "award": {"XP": {"round": "floor"}}}}}, "rules.r.award.XP", "exactly one of field and value"),
    ],
)  # fmt: skip
def test_an_error_of_a_boost_a_segment_or_a_tier_names_its_path(document: dict[str, Any], path: str, part: str) -> None:
    errors = [error for error in validate({"currencies": XP, **document}) if error.path == path]
    assert [part in error.message for error in errors[:1]] == [True], validate({"currencies": XP, **document})
