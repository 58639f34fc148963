"""Requirements on rolling windows, and on progress that customers report."""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from questline.engine.order import order_dependent
from questline.engine.validate import validate
from questline.engine.windows import added, best, ending, most
from questline.model.event import Event
from questline.model.program import parse
from questline.model.records import RecordKind
from questline.testing.scenario import Scenario


def program(threshold: int, duration: int, unit: str, *, operator: str = "gte", **metric: Any) -> dict[str, Any]:
    return {
        "currencies": {"coins": {"kind": "currency"}},
        "metrics": {"m": {"on": "e", **(metric or {"count": True})}},
        "achievements": {
            "a": {
                "title": "A",
                "requirements": [
                    {
                        "metric": "m",
                        "operator": operator,
                        "threshold": threshold,
                        "timeframe": {"duration": duration, "unit": unit},
                    }
                ],
                "rewards": [{"currency": "coins", "value": 5}],
            }
        },
    }


def unlocked_by(scenario: Scenario, *rows: Any) -> list[str]:
    return [row[0] for row, played in zip(rows, scenario.play(rows), strict=True) if played.decision.unlocks]


@pytest.mark.parametrize(
    ("document", "times", "by"),
    [
        # three within two days: a day is a calendar day
        (program(3, 2, "days"), ["05T00:00", "05T23:00", "06T23:59"], ["06T23:59"]),
        (program(3, 2, "days"), ["05T23:59", "05T23:59", "07T00:00"], []),
        (program(3, 2, "days"), ["05T10:00", "06T10:00", "07T10:00", "07T11:00"], ["07T11:00"]),
        # hours begin on the hour, minutes on the minute
        (program(2, 1, "hours"), ["05T10:00", "05T10:59"], ["05T10:59"]),
        (program(2, 1, "hours"), ["05T10:59", "05T11:00"], []),
        (program(2, 2, "hours"), ["05T10:59", "05T11:00"], ["05T11:00"]),
        (program(2, 10, "minutes"), ["05T10:00", "05T10:10", "05T10:19"], ["05T10:19"]),
        # a late event is counted where it belongs, and earns what its own windows hold
        (program(3, 2, "days"), ["05T10:00", "08T10:00", "06T10:00", "05T12:00"], ["05T12:00"]),
        (program(2, 1, "days"), ["05T10:00", "09T10:00", "05T11:00"], []),  # later than a whole timeframe
        (program(2, 7, "days", operator="gt"), ["05T10:00", "06T10:00", "07T10:00"], ["07T10:00"]),
        (program(1, 1, "days", operator="eq"), ["05T10:00"], ["05T10:00"]),
    ],
)
def test_a_timeframe_rolls(document: dict[str, Any], times: list[str], by: list[str]) -> None:
    rows = [(f"2026-01-{time}Z", "e", {}) for time in times]
    assert [at[8:16] for at in unlocked_by(Scenario(document), *rows)] == by


@pytest.mark.parametrize(
    ("times", "evaluated", "awarded"),
    [
        (["05T10:00", "05T11:00", "05T12:00"], "05T13:00", True),
        (["05T10:00", "05T11:00", "05T12:00"], "20T10:00", True),  # long ago, and nothing has happened since
        (["05T10:00", "05T11:00", "05T12:00", "06T10:00"], "06T11:00", True),
        (["05T10:00", "05T11:00", "05T12:00", "09T10:00"], "09T11:00", False),  # what came since has it forgotten
        (["05T10:00", "05T11:00", "06T10:00"], "06T11:00", False),
    ],
)
def test_an_award_finds_a_timeframe_that_was_met_in_the_past_as_far_as_it_is_kept(
    times: list[str], evaluated: str, awarded: bool
) -> None:
    past, now = Scenario(program(99, 1, "days")), Scenario(program(3, 1, "days"))
    past.play([(f"2026-01-{time}Z", "e", {}) for time in times])
    now.users = past.users
    assert bool(unlocked_by(now, (f"2026-01-{evaluated}Z", "$evaluate", {"achievement": "a"}))) is awarded


def test_days_of_a_timeframe_are_the_users_own() -> None:
    scenario = Scenario(program(2, 1, "days"))
    scenario.user().timezone = "Pacific/Auckland"  # UTC+13 in January
    rows = [("2026-01-05T10:00Z", "e", {}), ("2026-01-05T12:00Z", "e", {}), ("2026-01-06T10:00Z", "e", {})]
    assert unlocked_by(scenario, *rows) == ["2026-01-06T10:00Z"]


def test_a_sum_over_a_timeframe_is_exact() -> None:
    document = program(1, 1, "hours", sum="v")
    rows = [(f"2026-01-05T10:{n:02d}Z", "e", {"v": 0.1}) for n in range(10)]
    assert unlocked_by(Scenario(document), *rows) == ["2026-01-05T10:09Z"]


def test_buckets_are_kept_for_two_timeframes_and_no_longer() -> None:
    scenario = Scenario(program(1_000, 30, "days"))
    scenario.play([(datetime.fromisoformat("2026-01-01T10:00Z") + timedelta(days=n), "e", {}) for n in range(200)])
    assert len(scenario.user().records[RecordKind.WINDOW, "days:m"].buckets) == 60


def test_a_metric_that_nobody_looks_at_through_a_timeframe_keeps_no_buckets() -> None:
    document = program(3, 2, "days")
    document["metrics"]["other"] = {"on": "e", "count": True}
    scenario = Scenario(document)
    scenario.play([("2026-01-05T10:00Z", "e", {})])
    assert list(scenario.user().records) == [(RecordKind.WINDOW, "days:m")]


numbers = st.lists(st.integers(0, 11), min_size=1, max_size=25)


@given(numbers, st.integers(1, 6))
def test_windows_agree_with_a_count_over_all_events(found: list[int], length: int) -> None:
    buckets: tuple[Any, ...] = ()
    for number in found:
        new = added(buckets, number, 1, 24)
        assert new is not None
        buckets = new

    def plainly(end: int) -> int:
        return sum(1 for n in found if end - length < n <= end)

    for number in range(12):
        assert ending(buckets, number, length) == plainly(number)
        assert most(buckets, number, length) == max(
            plainly(end) for end in {number, *(n for n in found if number < n < number + length)}
        )
        assert best(buckets, number, length) == max(plainly(end) for end in {number, *found})


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 11), st.integers(0, 23)), min_size=1, max_size=20),
    st.randoms(use_true_random=False),
)
def test_any_order_of_arrival_within_two_timeframes_unlocks_the_same(facts: list[tuple[int, int]], chance: Any) -> None:
    start = datetime.fromisoformat("2026-01-05T00:00Z")
    events = [
        Event(UUID(int=i + 1), 1, "e", "ada", {}, start + timedelta(days=day, hours=hour))
        for i, (day, hour) in enumerate(facts)
    ]
    shuffled = [*events, *chance.choices(events, k=4)]
    chance.shuffle(shuffled)
    states = []
    for sequence in (events, shuffled):
        scenario = Scenario(program(4, 6, "days"))
        for event in sequence:
            scenario.apply(event)
        state = scenario.user()
        states.append((state.records, "a" in state.achievements, state.balances))
    assert states[0] == states[1]
    reached = any(sum(1 for day, _ in facts if end - 6 < day <= end) >= 4 for end in range(12))
    assert states[0][1] is reached


def test_reported_progress_adds_or_replaces_and_never_takes_an_unlock_back() -> None:
    scenario = Scenario(
        {
            "currencies": {"coins": {"kind": "currency"}},
            "achievements": {
                "course": {"title": "C", "requirements": [{"progress": "course", "threshold": 3}], "rewards": [{"currency": "coins", "value": 7}]},
                "tasks": {"title": "T", "requirements": [{"currency": "coins", "threshold": 7}]},
            },
        }
    )  # fmt: skip
    table = [
        ({"achievement": "course", "amount": 1},             ("progress course - → 1",)),
        ({"achievement": "course", "amount": 0.5},           ("progress course 1 → 1.5",)),
        ({"achievement": "course", "value": 3},              ("coins +7 achievement:course", "progress course 1.5 → 3", "unlock course tier 1 x1", "unlock tasks tier 1 x1")),
        ({"achievement": "course", "value": 0},              ("progress course 3 → 0",)),
        ({"achievement": "course", "amount": 9},             ("progress course 0 → 9",)),
        ({"achievement": "course", "amount": -1},            ("refused INVALID_COMMAND",)),
        ({"achievement": "course", "amount": 1, "value": 1}, ("refused INVALID_COMMAND",)),
        ({"achievement": "course", "amount": "1"},           ("refused INVALID_COMMAND",)),
        ({"achievement": "course"},                          ("refused INVALID_COMMAND",)),
        ({"achievement": "course", "value": 2**63},          ("refused INVALID_COMMAND",)),
        ({"achievement": "tasks", "amount": 1},              ("refused INVALID_COMMAND",)),
        ({"achievement": "curse", "amount": 1},              ("refused UNKNOWN_ACHIEVEMENT",)),
    ]  # fmt: skip
    played = scenario.play([("2026-01-05T10:00Z", "$progress", payload) for payload, _ in table])
    assert [found.effects for found in played] == [effects for _, effects in table]


@pytest.mark.parametrize(
    ("requirement", "path", "part"),
    [
        ({"metric": "last", "timeframe": {"duration": 1, "unit": "days"}}, "[0].timeframe", "count or sum"),
        ({"level": "XP", "timeframe": {"duration": 1, "unit": "days"}}, "[0].timeframe", "count or sum"),
        ({"metric": "m", "timeframe": {"duration": 751, "unit": "minutes"}}, "[0].timeframe.duration", "larger unit"),
        ({"metric": "m", "timeframe": {"duration": 0, "unit": "days"}}, "[0].timeframe.duration", "below 1"),
        ({"metric": "m", "timeframe": {"duration": 1, "unit": "weeks"}}, "[0].timeframe.unit", "not one of"),
        ({"metric": "m", "progress": "a"}, "[0]", "exactly one of"),
        ({"progress": "b"}, "[0].progress", "there is no achievement 'b'"),
    ],
)
def test_an_error_of_a_requirement_names_its_path(requirement: dict[str, Any], path: str, part: str) -> None:
    document = {
        "currencies": {"XP": {"kind": "xp", "levels": {"curve": "sqrt"}}},
        "metrics": {"m": {"on": "e", "count": True}, "last": {"on": "e", "last": "v"}},
        "achievements": {"a": {"title": "A", "requirements": [requirement]}},
    }
    errors = {error.path: error.message for error in validate(document)}
    assert part in errors[f"achievements.a.requirements{path}"]


def test_what_depends_on_the_order_of_arrival_is_marked() -> None:
    week = {"metric": "m", "timeframe": {"duration": 7, "unit": "days"}}
    document = {
        "metrics": {"m": {"on": "e", "count": True}},
        "achievements": {
            name: {"title": name, "requirements": requirements}
            for name, requirements in {
                "alone": [week], "beside": [week, {"metric": "m"}], "few": [{**week, "operator": "lt"}],
                "told": [{"progress": "told"}],
            }.items()
        },
    }  # fmt: skip
    assert sorted(order_dependent(parse(document))) == ["achievements.beside", "achievements.few", "achievements.told"]
