"""Decisions: what rules, limits, multipliers, levels, metrics and achievements make of events."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from books import books_balance
from hypothesis import given, settings
from hypothesis import strategies as st
from scenario import COINS, START, XP, Scenario, paid

from questline.engine.decide import decide
from questline.model.event import Event
from questline.model.limits import AMOUNT_MAX, ATTRIBUTES_BYTES_MAX, ATTRIBUTES_MAX, DISPLAY_NAME_CHARS_MAX
from questline.model.reasons import Reason


def rule(**more: Any) -> dict[str, Any]:
    return {"currencies": COINS, "rules": {"r": {"on": "e", "award": {"coins": 10}, **more}}}


@pytest.mark.parametrize(
    ("award", "payload", "amount"),
    [
        (10, {}, 10),
        ({"field": "v"}, {"v": 7}, 7),
        ({"field": "v", "times": 0.05}, {"v": 50}, 2),  # 2.5 to the even
        ({"field": "v", "times": 0.05}, {"v": 70}, 4),  # 3.5 to the even
        ({"field": "v", "times": 0.05, "round": "half_up"}, {"v": 50}, 3),
        ({"field": "v", "times": 0.05, "round": "floor"}, {"v": 59}, 2),
        ({"field": "v", "times": 0.05, "round": "ceil"}, {"v": 41}, 3),
        ({"field": "v", "times": 100, "round": "floor"}, {"v": 0.29}, 29),  # exact, unlike binary floats
        ({"field": "v", "max": 5}, {"v": 9}, 5),
        ({"field": "v", "min": 3}, {"v": 1}, 3),
        ({"field": "v"}, {"v": -5}, 0),
        ({"field": "v"}, {"v": "7"}, 0),
        ({"field": "v"}, {"v": True}, 0),
        ({"field": "v"}, {}, 0),
    ],
)
def test_an_award_is_a_number_or_a_field_rounded_once(award: Any, payload: dict[str, Any], amount: int) -> None:
    decision = Scenario(rule(award={"coins": award})).play(0, "e", **payload)
    assert sum(t.amount for t in decision.transfers) == amount


@pytest.mark.parametrize(
    ("multiply", "payload", "hour", "amount"),
    [
        ([{"field": "tier", "map": {"gold": 2}}], {"tier": "gold"}, 12, 20),
        ([{"field": "tier", "map": {"gold": 2}}], {"tier": "tin"}, 12, 10),
        ([{"field": "tier", "map": {"gold": 2}, "default": 0.5}], {}, 12, 5),
        ([{"field": "tier", "map": {"missing": 2, "null": 3}}], {}, 12, 10),
        ([{"field": "tier", "map": {"missing": 2, "null": 3}}], {"tier": None}, 12, 30),
        ([{"field": "tier", "map": {"3": 2}}], {"tier": 3}, 12, 20),
        ([{"field": "tier", "map": {"3": 2}}], {"tier": 3.0}, 12, 20),
        ([{"hours": [22, 2], "by": 2}], {}, 23, 20),
        ([{"hours": [22, 2], "by": 2}], {}, 1, 20),
        ([{"hours": [22, 2], "by": 2}], {}, 2, 10),
        ([{"hours": [9, 17], "by": 3}], {}, 9, 30),
        ([{"hours": [9, 17], "by": 3}], {}, 17, 10),
        ([{"field": "t", "map": {"true": 1.25}}, {"hours": [0, 24], "by": 1.5}], {"t": True}, 5, 19),  # 18.75
    ],
)
def test_multipliers_combine_and_round_once(multiply: Any, payload: dict[str, Any], hour: int, amount: int) -> None:
    decision = Scenario(rule(multiply=multiply)).at(datetime(2026, 1, 5, hour, 30, tzinfo=UTC), "e", **payload)
    assert paid(decision) == {"rule:r coins": amount}


def test_a_streak_multiplies_every_so_many_days_or_from_a_length_on() -> None:
    program = {
        "currencies": COINS,
        "streaks": {"daily": {"on": "e"}},
        "rules": {
            "every": {"on": "e", "award": {"coins": 10}, "multiply": [{"streak": "daily", "every": 3, "by": 2}]},
            "from": {"on": "e", "award": {"coins": 10}, "multiply": [{"streak": "daily", "from": 3, "by": 1.5}]},
        },
    }
    scenario = Scenario(program)
    amounts = [[t.amount for t in scenario.play(day, "e").transfers] for day in range(4)]
    assert amounts == [[10, 10], [10, 10], [20, 15], [10, 15]]


@pytest.mark.parametrize(
    ("per", "days", "fired"),
    [
        ("hour", [0, 0.01, 0.02, 0.05], 3),
        ("day", [0, 0.1, 0.2, 1, 1.1, 1.2], 4),
        ("week", [0, 1, 2, 7, 8, 9], 4),
        ("month", [0, 1, 2, 30, 31, 32], 4),
        ("ever", [0, 100, 200, 300], 2),
    ],
)
def test_a_limit_pays_so_often_in_a_window(per: str, days: list[float], fired: int) -> None:
    scenario = Scenario(rule(limit={"times": 2, "per": per}))
    assert sum(bool(scenario.play(day, "e").transfers) for day in days) == fired


@settings(max_examples=40)
@given(
    st.lists(st.tuples(st.sampled_from(("e", "e", "$spend")), st.integers(0, 72), st.integers(1, 25)), max_size=20),
    st.integers(1, 3),
    st.sampled_from(("hour", "day", "ever")),
)
def test_in_whatever_order_events_come_a_limit_pays_each_window_so_often_and_no_spend_takes_what_is_not_there(
    acts: list[tuple[str, int, int]], times: int, per: str
) -> None:
    scenario, decisions = Scenario(rule(limit={"times": times, "per": per})), []
    paid_in, coins = Counter[int](), 0
    for type_, hour, amount in acts:
        decisions.append(scenario.at(START + timedelta(hours=hour), type_, currency="coins", amount=amount))
        if type_ == "e":
            window = {"hour": hour, "day": (hour + START.hour) // 24, "ever": 0}[per]
            paid_in[window] += 1
            coins += 10 if paid_in[window] <= times else 0
        else:
            enough = amount <= coins
            assert decisions[-1].reason == (Reason.PROCESSED if enough else Reason.INSUFFICIENT_BALANCE)
            coins -= amount if enough else 0
        assert scenario.state.balances.get("coins", 0) == coins
    assert books_balance(scenario.state, decisions)


def test_a_limits_day_is_the_users_day() -> None:
    scenario = Scenario(rule(limit={"times": 1, "per": "day"}), timezone="Asia/Tokyo")
    first = scenario.at(datetime(2026, 1, 5, 14, tzinfo=UTC), "e")  # 23:00 in Tokyo
    second = scenario.at(datetime(2026, 1, 5, 15, tzinfo=UTC), "e")  # midnight
    assert first.transfers
    assert second.transfers


@pytest.mark.parametrize(
    ("levels", "xp", "level"),
    [
        ({"curve": "sqrt", "base": 100}, 0, 1), ({"curve": "sqrt", "base": 100}, 99, 1),
        ({"curve": "sqrt", "base": 100}, 100, 2), ({"curve": "sqrt", "base": 100}, 399, 2),
        ({"curve": "sqrt", "base": 100}, 400, 3), ({"curve": "linear", "base": 50}, 149, 3),
        ({"curve": "table", "table": [0, 10, 30]}, 29, 2), ({"curve": "table", "table": [0, 10, 30]}, 10**9, 3),
        ({"curve": "linear", "base": 1, "max": 4}, 99, 4),
    ],
)  # fmt: skip
def test_xp_makes_levels_by_the_curve(levels: dict[str, Any], xp: int, level: int) -> None:
    program = {
        "currencies": {"XP": {"kind": "xp", "levels": levels}},
        "rules": {"r": {"on": "e", "award": {"XP": {"field": "xp"}}}},
    }
    scenario = Scenario(program)
    scenario.play(0, "e", xp=xp)
    curve = scenario.program.curves["XP"]
    assert max(scenario.state.levels.get("XP", 0), 1) == level
    assert (curve.xp_for(level) or 0) <= xp


def test_every_level_passed_pays_its_reward_once() -> None:
    program = {
        "currencies": {
            "XP": {"kind": "xp", "levels": {"curve": "linear", "base": 10, "rewards": {
                "2": {"award": {"coins": 1}}, "3": {"award": {"coins": 5}}, "9": {"award": {"coins": 100}}}}},
            **COINS,
        },
        "rules": {"r": {"on": "e", "award": {"XP": {"field": "xp"}}}},
    }  # fmt: skip
    scenario = Scenario(program)
    assert paid(scenario.play(0, "e", xp=35)) == {"rule:r XP": 35, "level:XP:2 coins": 1, "level:XP:3 coins": 5}
    assert paid(scenario.play(1, "e", xp=3)) == {"rule:r XP": 3}
    assert scenario.state.balances == {"XP": 38, "coins": 6}


def test_metrics_aggregate_and_skip_what_is_no_number() -> None:
    program = {
        "metrics": {
            "count": {"on": "e", "count": True}, "sum": {"on": "e", "sum": "v"}, "min": {"on": "e", "min": "v"},
            "max": {"on": "e", "max": "v"}, "last": {"on": "e", "last": "v"}, "distinct": {"on": "e", "distinct": "v"},
            "big": {"on": "e", "when": {"field": "v", "op": "gt", "value": 3}, "count": True},
        }
    }  # fmt: skip
    scenario = Scenario(program)
    for day, value in ((0, 0.1), (2, 0.2), (1, 5), (3, "x"), (4, None), (5, True), (6, 0.1)):
        scenario.play(day, "e", v=value)
    values = {name: state.value for name, state in scenario.state.metrics.items()}
    assert values == {
        "count": 7, "sum": Decimal("5.4"), "min": Decimal("0.1"), "max": 5, "last": Decimal("0.1"), "distinct": 5, "big": 1,
    }  # fmt: skip


def test_achievements_unlock_once_climb_tiers_and_repeat() -> None:
    program = {
        "currencies": COINS,
        "metrics": {"n": {"on": "e", "count": True}},
        "achievements": {
            "three": {"title": "3", "requirements": [{"metric": "n", "threshold": 3}], "rewards": [{"currency": "coins", "value": 7}]},
            "tiers": {"title": "t", "requirements": [{"metric": "n"}], "tiers": [
                {"threshold": 1, "rewards": [{"currency": "coins", "value": 1}]},
                {"threshold": 4, "rewards": [{"currency": "coins", "value": 2}]}]},
            "again": {"title": "a", "requirements": [{"metric": "n", "threshold": 2}], "repeatable": True,
                      "rewards": [{"currency": "coins", "value": 10}]},
        },
    }  # fmt: skip
    scenario = Scenario(program)
    table = [paid(scenario.play(day, "e")) for day in range(5)]
    assert table == [
        {"achievement:tiers:1 coins": 1},
        {"achievement:again coins": 10},
        {"achievement:three coins": 7},
        {"achievement:tiers:2 coins": 2, "achievement:again coins": 10},
        {},
    ]


def test_any_and_all_combine_requirements_of_every_kind() -> None:
    program = {
        "currencies": {**COINS, **XP},
        "streaks": {"daily": {"on": "e"}},
        "rules": {"r": {"on": "e", "award": {"XP": 60, "coins": 1}}},
        "achievements": {
            "all": {"title": "a", "requirements": [{"level": "XP", "threshold": 2}, {"streak": "daily", "threshold": 3}]},
            "any": {"title": "b", "match": "any", "requirements": [{"level": "XP", "threshold": 9}, {"currency": "coins", "threshold": 2}]},
            "chain": {"title": "c", "requirements": [{"achievement": "all"}, {"achievement": "any"}]},
        },
    }  # fmt: skip
    scenario = Scenario(program)
    assert [sorted(u.achievement for u in scenario.play(day, "e").unlocks) for day in range(3)] == [
        [],
        ["any"],
        ["all", "chain"],
    ]


def test_a_chain_of_awards_is_resolved_in_one_decision() -> None:
    program = {
        "currencies": {"XP": {"kind": "xp", "levels": {"curve": "linear", "base": 10, "rewards": {"2": {"award": {"XP": 5}}}}}},
        "rules": {"r": {"on": "e", "award": {"XP": 10}}},
        "achievements": {"lvl": {"title": "l", "requirements": [{"level": "XP", "threshold": 2}], "rewards": [{"currency": "XP", "value": 10}]}},
    }  # fmt: skip
    scenario = Scenario(program)
    decision = scenario.play(0, "e")
    assert paid(decision) == {"rule:r XP": 10, "level:XP:2 XP": 5, "achievement:lvl XP": 10}
    assert scenario.state.levels == {"XP": 3}


def test_a_spend_takes_what_is_there_and_refuses_the_rest() -> None:
    scenario = Scenario(rule())
    scenario.play(0, "e")
    refused = scenario.play(1, "$spend", currency="coins", amount=11)
    assert (refused.reason, refused.transfers) == (Reason.INSUFFICIENT_BALANCE, ())
    scenario.play(1, "$spend", currency="coins", amount=10)
    assert scenario.state.balances == {"coins": 0}
    assert scenario.play(2, "$spend", currency="gold", amount=1).reason is Reason.UNKNOWN_CURRENCY
    assert scenario.play(2, "$spend", currency="coins", amount=-1).reason is Reason.INVALID_COMMAND


def test_an_overflow_is_a_refusal_without_effects() -> None:
    scenario = Scenario(rule(award={"coins": {"field": "v"}}))
    scenario.play(0, "e", v=AMOUNT_MAX)
    decision = scenario.play(1, "e", v=1)
    assert (decision.reason, decision.transfers) == (Reason.OVERFLOW, ())
    assert scenario.state.balances == {"coins": AMOUNT_MAX}


def test_a_blocked_user_gets_nothing() -> None:
    scenario = Scenario(rule())
    scenario.state.blocked = True
    assert scenario.play(0, "e").reason is Reason.USER_BLOCKED


def test_the_state_a_decision_was_made_from_is_not_changed() -> None:
    scenario = Scenario(rule())
    before = repr(scenario.state)
    event = Event(UUID(int=9), 1, "e", "ada", {}, datetime(2026, 1, 1, tzinfo=UTC))
    assert decide(scenario.program, scenario.state, event) == decide(scenario.program, scenario.state, event)
    assert repr(scenario.state) == before


def test_a_rule_that_pays_nothing_has_not_fired() -> None:
    scenario = Scenario(rule(award={"coins": {"field": "v"}}))
    assert [scenario.play(0, "e", v=v).fired for v in (0, 1)] == [(), ("r",)]


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
def test_a_periods_board_goes_by_the_periods_own_events_in_any_order(order: tuple[int, ...]) -> None:
    program = {
        "metrics": {"best": {"on": "e", "max": "v"}, "sum": {"on": "e", "sum": "v"}},
        "boards": {
            "best": {"metric": "best", "periods": ["weekly", "all-time"]},
            "sum": {"metric": "sum", "periods": ["weekly", "all-time"]},
        },
    }
    scenario = Scenario(program)
    facts = ((0, 100.5), (7, 50), (8, 50.75))
    for number in order:
        day, v = facts[number]
        scenario.play(day, "e", v=v)
    assert {key[:2]: score for key, score in scenario.boards.items()} == {
        ("best", "2026-W02"): 100, ("best", "2026-W03"): 50, ("best", "all-time"): 100,
        ("sum", "2026-W02"): 100, ("sum", "2026-W03"): 100, ("sum", "all-time"): 201,
    }  # fmt: skip


def test_boards_count_what_was_earned_in_the_periods_of_the_programs_zone() -> None:
    program = {
        "timezone": "Asia/Tokyo", "currencies": COINS, "metrics": {"n": {"on": "e", "count": True}},
        "rules": {"r": {"on": "e", "award": {"coins": 10}}, "s": {"on": "e", "award": {"coins": 5}}},
        "boards": {"c": {"currency": "coins", "periods": ["daily", "all-time"]}, "m": {"metric": "n", "periods": ["weekly"]}},
    }  # fmt: skip
    scenario = Scenario(program)
    decision = scenario.at(datetime(2026, 1, 4, 16, tzinfo=UTC), "e")  # Monday, 5 January in Tokyo
    assert [(p.board, p.period, p.mode.value, p.points) for p in decision.board_points] == [
        ("c", "2026-01-05", "add", 15), ("c", "all-time", "add", 15), ("m", "2026-W02", "add", 1),
    ]  # fmt: skip
    assert scenario.play(0, "$spend", currency="coins", amount=5).board_points == ()


def test_a_profile_update_merges_and_null_removes() -> None:
    scenario = Scenario(rule())
    scenario.play(0, "$profile_update", attributes={"tier": "gold", "x": 1}, displayName="Ada")
    scenario.play(1, "$profile_update", attributes={"x": None, "y": [1]})
    assert (dict(scenario.state.attributes), scenario.state.display_name) == ({"tier": "gold", "y": [1]}, "Ada")


@pytest.mark.parametrize("zone", ["Mars/Olympus", "", [], {}, 0, False, 5])
def test_a_profile_update_refuses_what_is_no_zone(zone: Any) -> None:
    scenario = Scenario(rule(), timezone="Asia/Tokyo")
    decision = scenario.play(0, "$profile_update", timezone=zone)
    assert (decision.reason, scenario.state.timezone) == (Reason.INVALID_COMMAND, "Asia/Tokyo")


@pytest.mark.parametrize(
    ("update", "reason"),
    [
        ({"displayName": "a\0b"}, Reason.INVALID_COMMAND),
        ({"timezone": "UT\0C"}, Reason.INVALID_COMMAND),
        ({"attributes": {"x": "a\0b"}}, Reason.INVALID_COMMAND),
        ({"attributes": {"x\0": None}}, Reason.INVALID_COMMAND),
        ({"attributes": {"x": {"y": [{"z\0": 1}]}}}, Reason.INVALID_COMMAND),
        ({"attributes": {"x": "\\u0000"}}, Reason.PROCESSED),  # six characters, none of them NUL
        ({"displayName": "x" * DISPLAY_NAME_CHARS_MAX}, Reason.PROCESSED),
        ({"displayName": "x" * (DISPLAY_NAME_CHARS_MAX + 1)}, Reason.LIMIT_REACHED),
        ({"attributes": {f"a{n}": n for n in range(ATTRIBUTES_MAX)}}, Reason.PROCESSED),
        ({"attributes": {f"a{n}": n for n in range(ATTRIBUTES_MAX + 1)}}, Reason.LIMIT_REACHED),
        ({"attributes": {f"a{n}": None for n in range(ATTRIBUTES_MAX + 1)}}, Reason.PROCESSED),
        ({"attributes": {"x": "é" * (ATTRIBUTES_BYTES_MAX // 2 - 4)}}, Reason.PROCESSED),
        ({"attributes": {"x": "é" * (ATTRIBUTES_BYTES_MAX // 2 - 3)}}, Reason.LIMIT_REACHED),
    ],
)
def test_a_profile_holds_no_nul_and_no_more_than_its_bounds(update: dict[str, Any], reason: Reason) -> None:
    scenario = Scenario(rule())
    decision = scenario.play(0, "$profile_update", **update)
    assert (decision.reason, decision.profile is None) == (reason, reason is not Reason.PROCESSED)


def test_attributes_are_bounded_over_all_updates() -> None:
    scenario = Scenario(rule())
    for n in range(ATTRIBUTES_MAX):
        assert scenario.play(n, "$profile_update", attributes={f"a{n}": n}).reason is Reason.PROCESSED
    told = [
        scenario.play(1_000, "$profile_update", attributes=attributes).reason
        for attributes in ({"new": 1}, {"a1": 2}, {"new": 1, "a1": None})
    ]
    assert told == [Reason.LIMIT_REACHED, Reason.PROCESSED, Reason.PROCESSED]


def test_who_has_more_attributes_than_the_bounds_from_before_may_change_them_but_not_add_to_them() -> None:
    scenario = Scenario(rule())
    scenario.state.attributes = {f"a{n}": "x" * 300 for n in range(2 * ATTRIBUTES_MAX)}
    scenario.state.display_name = "x" * 1_000
    told = [
        scenario.play(n, "$profile_update", **update).reason
        for n, update in enumerate((
            {"attributes": {"new": 1}},
            {"attributes": {"a1": "x" * 301}},
            {"attributes": {"a1": "y" * 300}},
            {"attributes": {"a1": None}, "displayName": "x" * 1_000},
            {"displayName": "y" * 1_000},
        ))
    ]  # fmt: skip
    limited, done = Reason.LIMIT_REACHED, Reason.PROCESSED
    assert told == [limited, limited, done, done, limited]


def test_a_late_change_of_zone_that_joins_two_runs_pays_their_milestone_once() -> None:
    program = {"currencies": COINS, "streaks": {"daily": {"on": "e", "milestones": {"7": {"award": {"coins": 50}}}}}}
    scenario = Scenario(program, timezone="Pacific/Niue")
    for day in (1, 2, 3, 4, 5, 7, 8, 9):
        scenario.at(datetime(2026, 1, day, 20, tzinfo=UTC), "e")
    late = scenario.at(datetime(2026, 1, 6, 10, 30, tzinfo=UTC), "$profile_update", timezone="Pacific/Kiritimati")
    assert (paid(late), scenario.state.streaks["daily"].longest) == ({"streak:daily:7 coins": 50}, 8)
    assert paid(scenario.at(datetime(2026, 1, 9, 20, tzinfo=UTC), "e")) == {}
