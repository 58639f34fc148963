"""Quests: steps, prerequisites, ends and periods, as tables of events and what they do."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scenario import COINS, START, XP

from questline.engine.order import order_dependent
from questline.engine.quest_states import TRANSITIONS, after
from questline.engine.validate import validate
from questline.model.event import Event
from questline.model.program import parse
from questline.model.quests import QuestStatus
from questline.model.records import RecordKind
from questline.testing.scenario import Scenario

BASE: dict[str, Any] = {
    "currencies": COINS | XP,
    "metrics": {"tasks": {"on": "task", "count": True}, "paid": {"on": "buy", "sum": "amount"}, "best": {"on": "game", "max": "score"}},
    "rules": {"xp": {"on": "xp", "award": {"XP": {"field": "amount"}}}},
    "streaks": {"daily": {"on": "task"}},
    "achievements": {"five": {"title": "Five", "requirements": [{"metric": "tasks", "threshold": 5}], "rewards": [{"currency": "XP", "value": 100}]}},
}  # fmt: skip
TEN = [{"currency": "coins", "value": 10}]


def program(more: dict[str, Any] | None = None, **quests: Any) -> Scenario:
    return Scenario(
        {**BASE, **(more or {}), "quests": {name: {"title": name, **quest} for name, quest in quests.items()}}
    )


def shown(effects: tuple[str, ...]) -> tuple[str, ...]:
    """What concerns quests and coins; the rest of a row is other mechanics' business."""
    return tuple(e for e in effects if e.startswith(("quest", "coins", "refused")))


def holds(scenario: Scenario, table: list[tuple[Any, ...]]) -> None:
    played = scenario.play([row[:3] for row in table])
    assert [shown(line.effects) for line in played] == [tuple(row[3:]) for row in table]


def notices(scenario: Scenario, *rows: Any) -> list[str]:
    return [
        " ".join((notice.type, *(str(v) for k, v in notice.data.items() if k in ("step", "times"))))
        for line in scenario.play(rows)
        for notice in line.decision.notices
        if notice.type.startswith("quest.")
    ]


def test_unordered_steps_are_taken_in_any_order_and_the_last_required_one_completes_the_quest() -> None:
    holds(program(tour={"rewards": TEN, "steps": [
        {"id": "look", "on": "look", "count": 2, "rewards": [{"currency": "coins", "value": 1}]},
        {"id": "buy", "on": "buy", "when": {"field": "amount", "op": "gte", "value": 5}},
        {"id": "share", "on": "share", "optional": True, "rewards": [{"currency": "coins", "value": 2}]},
    ]}), [
        ("2026-01-05T08:00Z", "buy", {"amount": 4}),
        ("2026-01-05T08:01Z", "look", {},           "quest tour - → IN_PROGRESS"),
        ("2026-01-05T08:02Z", "buy", {"amount": 5}, "quest tour IN_PROGRESS → IN_PROGRESS buy"),
        ("2026-01-05T08:03Z", "share", {},          "coins +2 quest:tour:share", "quest tour IN_PROGRESS buy → IN_PROGRESS buy share"),
        ("2026-01-05T08:04Z", "look", {},           "coins +1 quest:tour:look", "coins +10 quest:tour", "quest tour IN_PROGRESS buy share → COMPLETED buy share look"),
        ("2026-01-05T08:05Z", "look", {}),
    ])  # fmt: skip


def test_ordered_steps_open_one_after_the_other_and_an_event_counts_for_one_of_them() -> None:
    holds(program(path={"ordered": True, "rewards": TEN, "steps": [
        {"id": "a", "on": "e"}, {"id": "extra", "on": "x", "optional": True}, {"id": "b", "on": "e"}, {"id": "c", "on": ["e", "f"]},
    ]}), [
        ("2026-01-05T08:00Z", "f", {}, "quest path - → IN_PROGRESS"),
        ("2026-01-05T08:01Z", "e", {}, "quest path IN_PROGRESS → IN_PROGRESS a"),
        ("2026-01-05T08:02Z", "f", {}),
        ("2026-01-05T08:03Z", "e", {}, "quest path IN_PROGRESS a → IN_PROGRESS a b"),
        ("2026-01-05T08:04Z", "x", {}, "quest path IN_PROGRESS a b → IN_PROGRESS a b extra"),
        ("2026-01-05T08:05Z", "f", {}, "coins +10 quest:path", "quest path IN_PROGRESS a b extra → COMPLETED a b extra c"),
    ])  # fmt: skip


def test_requirements_count_in_total_or_since_the_start_and_the_event_that_starts_a_quest_counts() -> None:
    scenario = program(
        total={"steps": [{"id": "s", "requirements": [{"metric": "tasks", "threshold": 3}]}]},
        since={"steps": [{"id": "s", "requirements": [{"metric": "tasks", "threshold": 3, "since": "start"}]}]},
    )
    scenario.play([("2026-01-05T07:00Z", "task", {})])
    scenario.user().records.clear()  # as if the quests had come with a newer program
    holds(scenario, [
        ("2026-01-05T08:00Z", "task", {}, "quest total - → IN_PROGRESS", "quest since - → IN_PROGRESS"),
        ("2026-01-05T08:01Z", "task", {}, "quest total IN_PROGRESS → COMPLETED s"),
        ("2026-01-05T08:02Z", "task", {}, "quest since IN_PROGRESS → COMPLETED s"),
    ])  # fmt: skip


@pytest.mark.parametrize(
    ("requirement", "before", "rows", "completes_at"),
    [
        ({"level": "XP", "threshold": 2}, [("xp", {"amount": 100})], [("xp", {"amount": 1}), ("xp", {"amount": 299}), ("xp", {"amount": 500})], 2),
        ({"streak": "daily", "threshold": 2}, [("task", {})], [("task", {}), ("task", {})], 1),
        ({"achievement": "five"}, [], [("task", {})] * 6, 4),
        ({"metric": "paid", "threshold": 2.5}, [("buy", {"amount": 9.5})], [("buy", {"amount": 1.25}), ("buy", {"amount": 1.25})], 1),
        ({"quest": "other"}, [("other", {})], [("task", {})], None),
    ],
)  # fmt: skip
def test_since_the_start_is_told_of_whatever_has_a_start(
    requirement: dict[str, Any], before: list[Any], rows: list[Any], completes_at: int | None
) -> None:
    step = {"id": "s", "requirements": [{**requirement, "since": "start"}]}
    scenario = program(q={"autoStart": False, "steps": [step]}, other={"steps": [{"id": "s", "on": "other"}]})
    days = (f"2026-01-{day:02d}T08:00Z" for day in range(5, 28))
    scenario.play([(next(days), type_, payload) for type_, payload in before])
    scenario.play([(next(days), "$quest_start", {"quest": "q"})])
    done = []
    for type_, payload in rows:
        scenario.play([(next(days), type_, payload)])
        done.append(scenario.user().records[RecordKind.QUEST, "q"].status)
    assert [status is QuestStatus.COMPLETED for status in done].count(True) == (0 if completes_at is None else len(rows) - completes_at)  # fmt: skip


def test_a_step_may_need_all_or_any_of_several_requirements() -> None:
    both = [{"metric": "tasks", "threshold": 2}, {"metric": "paid", "threshold": 5}]
    holds(program(all={"steps": [{"id": "s", "requirements": both}]}, any={"steps": [{"id": "s", "match": "any", "requirements": both}]}), [
        ("2026-01-05T08:00Z", "buy", {"amount": 4}, "quest all - → IN_PROGRESS", "quest any - → IN_PROGRESS"),
        ("2026-01-05T08:01Z", "task", {}),
        ("2026-01-05T08:02Z", "task", {},           "quest any IN_PROGRESS → COMPLETED s"),
        ("2026-01-05T08:03Z", "buy", {"amount": 1}, "quest all IN_PROGRESS → COMPLETED s"),
    ])  # fmt: skip


def test_a_quest_waits_for_its_prerequisites_and_what_meets_them_does_not_count_for_it() -> None:
    holds(program(
        first={"steps": [{"id": "s", "on": "task", "count": 2}]},
        second={"prerequisites": [{"quest": "first"}], "steps": [{"id": "s", "on": "task"}], "rewards": TEN},
        third={"prerequisites": [{"quest": "second"}, {"level": "XP", "threshold": 2}], "steps": [{"id": "s", "requirements": [{"metric": "tasks", "since": "start"}]}]},
    ), [
        ("2026-01-05T08:00Z", "task", {},           "quest first - → IN_PROGRESS"),
        ("2026-01-05T08:01Z", "task", {},           "quest first IN_PROGRESS → COMPLETED s", "quest second - → IN_PROGRESS"),
        ("2026-01-05T08:02Z", "task", {},           "coins +10 quest:second", "quest second IN_PROGRESS → COMPLETED s"),
        ("2026-01-05T08:03Z", "xp", {"amount": 100}, "quest third - → IN_PROGRESS"),
        ("2026-01-05T08:04Z", "task", {},           "quest third IN_PROGRESS → COMPLETED s"),
    ])  # fmt: skip


def test_one_event_resolves_a_chain_of_quests_levels_and_achievements_in_one_decision() -> None:
    chain = {f"q{n}": {"prerequisites": [{"quest": f"q{n - 1}"}] if n else [], "rewards": TEN,
                       "steps": [{"id": "s", "requirements": [{"metric": "tasks", "threshold": 5}]}]} for n in range(12)}  # fmt: skip
    scenario = program(
        {"achievements": BASE["achievements"] | {"hero": {"title": "Hero", "requirements": [{"quest": "q11"}]}}},
        **chain,
        levelled={"steps": [{"id": "s", "requirements": [{"level": "XP", "threshold": 2}, {"achievement": "five"}]}]},
    )
    played = scenario.play([(f"2026-01-05T08:0{n}Z", "task", {}) for n in range(5)])
    assert scenario.user().balances["coins"] == 120
    assert {u.achievement for u in played[-1].decision.unlocks} == {"five", "hero"}
    assert scenario.user().records[RecordKind.QUEST, "levelled"].status is QuestStatus.COMPLETED


def test_a_quest_that_does_not_start_by_itself_waits_for_its_command() -> None:
    q, step = {"quest": "q"}, {"quest": "q", "step": "sign"}
    holds(program(q={"autoStart": False, "autoComplete": False, "prerequisites": [{"metric": "tasks"}], "rewards": TEN, "ordered": True,
                     "steps": [{"id": "look", "on": "look"}, {"id": "sign"}, {"id": "check", "manual": True, "requirements": [{"metric": "tasks", "threshold": 2}]}]}), [
        ("2026-01-05T08:00Z", "$quest_start", {"quest": "x"},              "refused UNKNOWN_QUEST"),
        ("2026-01-05T08:00Z", "$quest_start", q,                           "refused REQUIREMENT_NOT_MET"),
        ("2026-01-05T08:01Z", "task", {}),
        ("2026-01-05T08:02Z", "look", {}),
        ("2026-01-05T08:02Z", "$quest_step", step,                         "refused QUEST_STATE"),
        ("2026-01-05T08:02Z", "$quest_complete", q,                        "refused QUEST_STATE"),
        ("2026-01-05T08:03Z", "$quest_start", q,                           "quest q - → IN_PROGRESS"),
        ("2026-01-05T08:04Z", "$quest_start", q,                           "refused QUEST_STATE"),
        ("2026-01-05T08:05Z", "$quest_step", step,                         "refused REQUIREMENT_NOT_MET"),
        ("2026-01-05T08:05Z", "$quest_step", {"quest": "q", "step": "look"}, "refused INVALID_COMMAND"),
        ("2026-01-05T08:05Z", "$quest_step", {"quest": "q", "step": "?"},  "refused UNKNOWN_QUEST"),
        ("2026-01-05T08:06Z", "look", {},                                  "quest q IN_PROGRESS → IN_PROGRESS look"),
        ("2026-01-05T08:07Z", "$quest_step", step,                         "quest q IN_PROGRESS look → IN_PROGRESS look sign"),
        ("2026-01-05T08:08Z", "$quest_step", step,                         "refused QUEST_STATE"),
        ("2026-01-05T08:09Z", "$quest_step", {"quest": "q", "step": "check"}, "refused REQUIREMENT_NOT_MET"),
        ("2026-01-05T08:09Z", "$quest_complete", q,                        "refused REQUIREMENT_NOT_MET"),
        ("2026-01-05T08:10Z", "task", {}),
        ("2026-01-05T08:11Z", "$quest_step", {"quest": "q", "step": "check"}, "quest q IN_PROGRESS look sign → IN_PROGRESS look sign check"),
        ("2026-01-05T08:12Z", "$quest_complete", q,                        "coins +10 quest:q", "quest q IN_PROGRESS look sign check → COMPLETED look sign check"),
        ("2026-01-05T08:13Z", "$quest_complete", q,                        "refused QUEST_STATE"),
        ("2026-01-05T08:14Z", "$quest_start", q,                           "refused QUEST_STATE"),
    ])  # fmt: skip


def test_a_quest_that_starts_by_itself_starts_with_the_first_step_that_the_customer_completes() -> None:
    holds(program(q={"steps": [{"id": "a"}, {"id": "b"}], "rewards": TEN}), [
        ("2026-01-05T08:00Z", "$quest_step", {"quest": "q", "step": "b"}, "quest q - → IN_PROGRESS b"),
        ("2026-01-05T08:01Z", "$quest_step", {"quest": "q", "step": "a"}, "coins +10 quest:q", "quest q IN_PROGRESS b → COMPLETED b a"),
    ])  # fmt: skip


def test_a_time_limit_runs_from_the_start_and_dates_bound_it() -> None:
    limited = {"timeLimit": {"duration": 2, "unit": "hours"}, "steps": [{"id": "s", "on": "e", "count": 2}]}
    dated = {
        "startsAt": "2026-01-05T09:00:00+01:00",
        "endsAt": "2026-01-05T10:00:00Z",
        "steps": [{"id": "s", "on": "f", "count": 2}],
    }
    holds(program(limited=limited, dated=dated), [
        ("2026-01-05T07:59Z", "f", {}),
        ("2026-01-05T08:00Z", "e", {},                               "quest limited - → IN_PROGRESS"),
        ("2026-01-05T08:00Z", "f", {},                               "quest dated - → IN_PROGRESS"),
        ("2026-01-05T07:59Z", "f", {}),
        ("2026-01-05T07:59Z", "e", {}),
        ("2026-01-05T10:00Z", "e", {},                               "quest limited IN_PROGRESS → EXPIRED"),
        ("2026-01-05T09:59Z", "e", {}),
        ("2026-01-05T09:59:59Z", "f", {},                            "quest dated IN_PROGRESS → COMPLETED s"),
        ("2026-01-05T10:00Z", "$quest_start", {"quest": "limited"},  "refused QUEST_STATE"),
    ])  # fmt: skip


def test_the_sweeps_event_expires_a_run_once_and_touches_no_other() -> None:
    scenario = program(q={"type": "daily", "steps": [{"id": "s", "on": "e", "count": 2}], "rewards": TEN})
    holds(scenario, [
        ("2026-01-05T08:00Z", "e", {},                          "quest q - → IN_PROGRESS"),
        ("2026-01-05T23:59Z", "$quest_expire", {"quest": "q"}),
        ("2026-01-06T00:00Z", "$quest_expire", {"quest": "q"},  "quest q IN_PROGRESS → EXPIRED"),
        ("2026-01-06T00:00Z", "$quest_expire", {"quest": "q"}),
        ("2026-01-06T08:00Z", "e", {},                          "quest q EXPIRED → IN_PROGRESS"),
        ("2026-01-06T00:00Z", "$quest_expire", {"quest": "q"}),
        ("2026-01-06T09:00Z", "e", {},                          "coins +10 quest:q", "quest q IN_PROGRESS → COMPLETED s"),
        ("2026-01-07T00:00Z", "$quest_expire", {"quest": "q"}),
        ("2026-01-07T00:00Z", "$quest_expire", {"quest": "?"}),
    ])  # fmt: skip


def test_the_runs_of_a_blocked_user_end_in_time_and_pay_nothing() -> None:
    scenario = program(q={"type": "daily", "steps": [{"id": "s", "on": "e"}, {"id": "m"}], "rewards": TEN})
    scenario.play([("2026-01-05T08:00Z", "e", {})])
    scenario.user().blocked = True
    holds(scenario, [
        ("2026-01-05T09:00Z", "$quest_step", {"quest": "q", "step": "m"}, "refused USER_BLOCKED"),
        ("2026-01-06T00:00Z", "$quest_expire", {"quest": "q"},            "quest q IN_PROGRESS s → EXPIRED s"),
    ])  # fmt: skip


@pytest.mark.parametrize(
    ("type_", "zone", "first", "same", "next_"),
    [
        ("daily", "Europe/Berlin", "2026-01-05T22:00Z", "2026-01-05T22:59Z", "2026-01-05T23:00Z"),
        ("daily", "Pacific/Kiritimati", "2026-01-05T09:00Z", "2026-01-05T09:59Z", "2026-01-05T10:00Z"),
        ("weekly", "UTC", "2026-01-05T00:00Z", "2026-01-11T23:59Z", "2026-01-12T00:00Z"),
        ("monthly", "America/New_York", "2026-01-05T00:00Z", "2026-02-01T04:59Z", "2026-02-01T05:00Z"),
    ],
)
def test_a_repeating_quest_begins_anew_with_the_users_own_period(type_: str, zone: str, first: str, same: str, next_: str) -> None:  # fmt: skip
    scenario = program(
        q={"type": type_, "rewards": TEN, "steps": [{"id": "s", "requirements": [{"metric": "tasks", "threshold": 2}]}]}
    )
    scenario.user().timezone = zone
    holds(scenario, [
        (first, "task", {}, "quest q - → IN_PROGRESS"),
        (same, "task", {},  "coins +10 quest:q", "quest q IN_PROGRESS → COMPLETED s"),
        (same, "task", {}),
        (next_, "task", {}, "quest q COMPLETED s → IN_PROGRESS"),
        (same, "task", {}),
        (next_, "task", {}, "coins +10 quest:q", "quest q IN_PROGRESS → COMPLETED s"),
    ])  # fmt: skip
    assert scenario.user().records[RecordKind.QUEST, "q"].times == 2


def test_a_journey_west_leaves_a_run_as_it_is_until_the_date_it_is_of_is_over() -> None:
    scenario = program(q={"type": "daily", "rewards": TEN, "steps": [{"id": "s", "on": "e", "count": 3}]})
    scenario.user().timezone = "Pacific/Honolulu"  # UTC-10, from noon on
    scenario.user().zone_history = ((datetime(2026, 1, 5, 12, tzinfo=UTC), "Asia/Tokyo"),)  # UTC+9
    holds(scenario, [
        ("2026-01-05T08:00Z", "e", {}, "quest q - → IN_PROGRESS"),
        ("2026-01-04T08:00Z", "e", {}),
        ("2026-01-05T08:30Z", "e", {}, "quest q IN_PROGRESS → IN_PROGRESS"),
        ("2026-01-05T14:59Z", "e", {}, "coins +10 quest:q", "quest q IN_PROGRESS → COMPLETED s"),
        ("2026-01-06T09:59Z", "e", {}),
        ("2026-01-06T10:00Z", "e", {}, "quest q COMPLETED s → IN_PROGRESS"),
    ])  # fmt: skip


def _to_tokyo_at_noon(quest: dict[str, Any]) -> Scenario:
    """A user who set out in Los Angeles, where a day ends at 08:00 UTC, and has Tokyo's clock from 18:00 on: the next date."""
    scenario = program(q={"type": "daily", "rewards": TEN, **quest})
    scenario.user().timezone = "Asia/Tokyo"  # UTC+9
    scenario.user().zone_history = ((datetime(2026, 1, 5, 18, tzinfo=UTC), "America/Los_Angeles"),)  # UTC-8
    return scenario


def test_a_journey_east_ends_no_run_before_its_deadline_and_the_next_begins_after_what_completes_it() -> None:
    holds(_to_tokyo_at_noon({"steps": [{"id": "s", "on": "e", "count": 2}]}), [
        ("2026-01-05T17:00Z", "e", {}, "quest q - → IN_PROGRESS"),
        ("2026-01-05T19:00Z", "e", {}, "coins +10 quest:q", "quest q IN_PROGRESS → COMPLETED s"),
        ("2026-01-05T18:30Z", "e", {}),
        ("2026-01-05T20:00Z", "e", {}, "quest q COMPLETED s → IN_PROGRESS"),
        ("2026-01-06T14:59Z", "e", {}, "coins +10 quest:q", "quest q IN_PROGRESS → COMPLETED s"),
        ("2026-01-06T15:00Z", "e", {}, "quest q COMPLETED s → IN_PROGRESS"),
    ])  # fmt: skip


def test_a_journey_east_leaves_a_run_its_whole_time_and_the_next_what_is_left_of_its_day() -> None:
    scenario = _to_tokyo_at_noon({"steps": [{"id": "s", "on": "e", "count": 9}]})
    holds(scenario, [
        ("2026-01-05T17:00Z", "e", {},                          "quest q - → IN_PROGRESS"),
        ("2026-01-05T19:00Z", "$quest_start", {"quest": "q"},   "refused QUEST_STATE"),
        ("2026-01-06T07:59Z", "$quest_expire", {"quest": "q"}),
        ("2026-01-06T07:59Z", "e", {},                          "quest q IN_PROGRESS → IN_PROGRESS"),
        ("2026-01-06T08:00Z", "$quest_expire", {"quest": "q"},  "quest q IN_PROGRESS → EXPIRED"),
        ("2026-01-06T07:59Z", "e", {}),
        ("2026-01-06T08:00Z", "e", {},                          "quest q EXPIRED → IN_PROGRESS"),
    ])  # fmt: skip
    begun = scenario.user().records[RecordKind.QUEST, "q"]
    assert begun.deadline == datetime(2026, 1, 6, 15, tzinfo=UTC)  # type: ignore[union-attr]


def test_the_event_that_fails_a_run_on_a_journey_east_begins_no_other() -> None:
    lost = {"steps": [{"id": "s", "requirements": [{"metric": "tasks", "threshold": 3}]}], "fails": {"on": "task", "when": {"field": "lives", "op": "eq", "value": 0}}}  # fmt: skip
    holds(_to_tokyo_at_noon(lost), [
        ("2026-01-05T17:00Z", "task", {},           "quest q - → IN_PROGRESS"),
        ("2026-01-05T19:00Z", "task", {"lives": 0}, "quest q IN_PROGRESS → FAILED"),
        ("2026-01-05T20:00Z", "task", {},           "quest q FAILED → IN_PROGRESS"),
    ])  # fmt: skip


def test_an_event_may_fail_a_quest_under_way() -> None:
    holds(program(q={"fails": {"on": "lost", "when": {"field": "lives", "op": "eq", "value": 0}}, "steps": [{"id": "s", "on": "won"}]}), [
        ("2026-01-05T08:00Z", "lost", {"lives": 0}),
        ("2026-01-05T08:01Z", "$quest_start", {"quest": "q"}, "quest q - → IN_PROGRESS"),
        ("2026-01-05T08:02Z", "lost", {"lives": 1}),
        ("2026-01-05T08:03Z", "lost", {"lives": 0},           "quest q IN_PROGRESS → FAILED"),
        ("2026-01-05T08:04Z", "won", {}),
    ])  # fmt: skip


def test_each_move_is_told_in_a_notice() -> None:
    quest = {"type": "daily", "fails": {"on": "lost"}, "steps": [{"id": "a", "on": "e"}, {"id": "b", "on": "f"}]}
    rows = [("2026-01-05T08:00Z", "e", {}), ("2026-01-05T08:01Z", "f", {}), ("2026-01-06T08:00Z", "e", {}),
            ("2026-01-07T08:00Z", "e", {}), ("2026-01-07T08:01Z", "lost", {})]  # fmt: skip
    assert notices(program(q=quest), *rows) == [
        "quest.started", "quest.step_completed a", "quest.step_completed b", "quest.completed 1",
        "quest.started", "quest.step_completed a",
        "quest.expired", "quest.started", "quest.step_completed a", "quest.failed",
    ]  # fmt: skip


def test_a_condition_reads_a_quests_status_at_the_events_time() -> None:
    paid = {"on": "e", "when": {"field": "quest.q", "op": "eq", "value": "IN_PROGRESS"}, "award": {"coins": 1}}
    holds(program({"rules": {"r": paid}}, q={"type": "daily", "autoStart": False, "steps": [{"id": "s"}]}), [
        ("2026-01-05T08:00Z", "e", {}),
        ("2026-01-05T08:01Z", "$quest_start", {"quest": "q"}, "quest q - → IN_PROGRESS"),
        ("2026-01-05T08:02Z", "e", {},                        "coins +1 rule:r"),
        ("2026-01-06T08:02Z", "e", {}),
    ])  # fmt: skip


def test_a_requirement_that_a_newer_program_adds_counts_from_then_on() -> None:
    old = program(q={"steps": [{"id": "s", "on": "e"}]})
    old.play([("2026-01-05T07:00Z", "task", {}), ("2026-01-05T07:01Z", "$quest_start", {"quest": "q"})])
    step = {"id": "s", "requirements": [{"metric": "tasks", "threshold": 2, "since": "start"}]}
    new = program(q={"steps": [step]})
    new.users = old.users
    holds(new, [
        ("2026-01-05T08:00Z", "task", {}, "quest q IN_PROGRESS → IN_PROGRESS"),
        ("2026-01-05T08:01Z", "task", {}, "quest q IN_PROGRESS → COMPLETED s"),
    ])  # fmt: skip


@pytest.mark.parametrize(
    ("steps", "settled"),
    [
        ([{"id": "s", "on": "e", "count": 3}], "done s"),
        ([{"id": "s", "on": "e", "count": 4}], "done s"),
        ([{"id": "s", "on": "e", "count": 2}, {"id": "done", "on": "e"}], "done s"),
        ([{"id": "done", "on": ["e", "first"]}], "done"),
    ],
)
def test_a_newer_program_that_asks_for_less_than_was_counted_completes_the_quest_with_the_next_event(
    steps: list[dict[str, Any]], settled: str
) -> None:
    old = program(q={"steps": [{"id": "s", "on": "e", "count": 5}, {"id": "done", "on": "first"}]})
    old.play([("2026-01-05T07:00Z", "e", {})] * 4 + [("2026-01-05T07:01Z", "first", {})])
    new = program(q={"steps": steps, "rewards": TEN})
    new.users = old.users
    holds(new, [
        ("2026-01-05T08:00Z", "e", {}, "coins +10 quest:q", f"quest q IN_PROGRESS done → COMPLETED {settled}"),
        ("2026-01-05T08:01Z", "e", {}),
    ])  # fmt: skip


def test_a_quest_done_once_that_a_newer_program_repeats_begins_anew_and_one_under_way_goes_on() -> None:
    steps = [{"id": "s", "on": "e", "count": 2}]
    old = program(done={"steps": [{"id": "s", "on": "e"}]}, under_way={"steps": steps})
    old.play([("2026-01-05T07:00Z", "e", {})])
    new = program(done={"type": "daily", "steps": steps}, under_way={"type": "daily", "steps": steps})
    new.users = old.users
    holds(new, [
        ("2026-01-06T08:00Z", "e", {}, "quest done COMPLETED s → IN_PROGRESS", "quest under_way IN_PROGRESS → COMPLETED s"),
        ("2026-01-06T08:01Z", "e", {}, "quest done IN_PROGRESS → COMPLETED s", "quest under_way COMPLETED s → IN_PROGRESS"),
    ])  # fmt: skip


def test_the_table_leads_from_the_first_state_to_every_other_and_ends_only_by_a_new_period() -> None:
    reached = {QuestStatus.NOT_STARTED}
    for _ in TRANSITIONS:
        reached |= {t.after for t in TRANSITIONS if t.before in reached}
    assert reached == set(QuestStatus)
    ended = {QuestStatus.COMPLETED, QuestStatus.FAILED, QuestStatus.EXPIRED}
    assert {t.on for t in TRANSITIONS if t.before in ended} == {"reset"}
    with pytest.raises(KeyError):
        after(QuestStatus.FAILED, "complete")


ANY_ORDER = {
    "tour": {"rewards": TEN, "startsAt": "2026-01-07T00:00:00Z",
             "steps": [{"id": "a", "on": "a", "count": 3, "rewards": TEN}, {"id": "b", "on": ["b", "a"], "count": 2}]},
    "total": {"rewards": TEN, "steps": [{"id": "s", "requirements": [{"metric": "tasks", "threshold": 3}, {"metric": "best", "threshold": 5}]}]},
    "hero": {"rewards": TEN, "steps": [{"id": "s", "requirements": [{"quest": "total"}, {"achievement": "five"}]}]},
}  # fmt: skip
facts = st.lists(st.tuples(st.sampled_from(("a", "b", "task", "game")), st.integers(0, 10 * 24), st.integers(0, 8)), min_size=1, max_size=16)  # fmt: skip


def final(sequence: list[Event]) -> dict[str, Any]:
    scenario = program(**ANY_ORDER)
    for event in sequence:
        scenario.apply(event)
    state = scenario.user()
    runs = {name: (run.status, run.times) for (kind, name), run in state.records.items() if kind is RecordKind.QUEST}
    return {"balances": state.balances, "runs": runs, "levels": state.levels}


@settings(max_examples=100, deadline=None)
@given(facts, st.randoms(use_true_random=False))
def test_quests_that_claim_no_order_end_the_same_for_any_order_and_pay_once_however_often_an_event_comes(
    played: Any, chance: Any
) -> None:
    sequence = [
        Event(UUID(int=i), 1, type_, "ada", {"score": score}, START + timedelta(hours=hours))
        for i, (type_, hours, score) in enumerate(played, 1)
    ]
    other = sequence + chance.choices(sequence, k=5)
    chance.shuffle(other)
    assert final(other) == final(sequence)


any_quest = st.fixed_dictionaries(
    {
        "type": st.sampled_from(("daily", "weekly", "special")), "ordered": st.booleans(), "autoStart": st.booleans(),
        "steps": st.just([{"id": "a", "on": "a", "rewards": TEN}, {"id": "b", "on": ["b", "a"], "count": 2, "rewards": TEN}, {"id": "m", "rewards": TEN}]),
        "rewards": st.just(TEN), "fails": st.just({"on": "task"}),
    },
    optional={"timeLimit": st.just({"duration": 30, "unit": "hours"})},
)  # fmt: skip
TOLD = {
    "quest.started": QuestStatus.IN_PROGRESS, "quest.completed": QuestStatus.COMPLETED, "quest.failed": QuestStatus.FAILED,
    "quest.expired": QuestStatus.EXPIRED,
}  # fmt: skip
moves = st.lists(st.tuples(st.sampled_from(("a", "b", "task", "$quest_start", "$quest_step", "$quest_complete", "$quest_expire")), st.integers(0, 24 * 9)), max_size=30)  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(any_quest, moves)
def test_whatever_comes_in_whatever_order_each_run_moves_by_the_table_and_pays_each_step_once(quest: Any, played: Any) -> None:  # fmt: skip
    scenario = program(q=quest)
    events = [
        Event(UUID(int=i), 1, type_, "ada", {"quest": "q", "step": "m"}, START + timedelta(hours=hours))
        for i, (type_, hours) in enumerate(played, 1)
    ]
    ways = {(t.before, t.after) for t in TRANSITIONS}
    ways |= {(b, QuestStatus.IN_PROGRESS) for b, on in ((t.before, t.on) for t in TRANSITIONS) if on == "reset"}
    statuses, paid = [QuestStatus.NOT_STARTED], 0
    for event in events:
        told = [n.type for n in scenario.apply(event).notices if n.type.startswith("quest.")]
        paid += 10 * (told.count("quest.step_completed") + told.count("quest.completed"))
        statuses += [TOLD[type_] for type_ in told if type_ in TOLD]
    assert set(pairwise(statuses)) <= ways
    assert scenario.user().balances.get("coins", 0) == paid


@pytest.mark.parametrize(
    ("quest", "path", "part"),
    [
        ({"steps": []}, "quests.q.steps", "must not be empty"),
        ({"steps": [{"id": "a"}, {"id": "a"}]}, "quests.q.steps[1].id", "another step is called 'a'"),
        ({"steps": [{"id": "a", "optional": True}]}, "quests.q.steps", "at least one step must be required"),
        ({"steps": [{"id": "a", "count": 2}]}, "quests.q.steps[0]", "lacks 'on'"),
        ({"steps": [{"id": "a", "requirements": [{"metric": "taks"}]}]}, "quests.q.steps[0].requirements[0].metric", "did you mean 'tasks'?"),
        ({"steps": [{"id": "a", "requirements": [{"metric": "tasks", "level": "XP"}]}]}, "quests.q.steps[0].requirements[0]", "exactly one of"),
        ({"steps": [{"id": "a", "requirements": [{"metric": "best", "since": "start"}]}]}, "quests.q.steps[0].requirements[0].since", "kind max"),
        ({"type": "daily", "steps": [{"id": "a", "requirements": [{"metric": "best"}]}]}, "quests.q.steps[0].requirements[0].since", "write since: ever"),
        ({"steps": [{"id": "a", "requirements": [{"currency": "coins", "since": "start"}]}]}, "quests.q.steps[0].requirements[0].since", "a currency cannot be counted since the start"),
        ({"steps": [{"id": "a", "requirements": [{"quest": "q"}]}]}, "quests.q.steps[0].requirements[0].quest", "cannot require itself"),
        ({"steps": [{"id": "a"}], "prerequisites": [{"quest": "q"}]}, "quests.q.prerequisites[0].quest", "cannot wait for itself"),
        ({"steps": [{"id": "a"}], "prerequisites": [{"quest": "r"}]}, "quests.q.prerequisites", "could never start"),
        ({"steps": [{"id": "a"}], "startsAt": "2026-13-01T00:00:00Z"}, "quests.q.startsAt", "is no instant"),
        ({"steps": [{"id": "a"}], "startsAt": "2026-01-01"}, "quests.q.startsAt", "wrong form"),
        ({"steps": [{"id": "a"}], "startsAt": "2026-01-02T00:00:00Z", "endsAt": "2026-01-02T00:00:00Z"}, "quests.q.endsAt", "after startsAt"),
        ({"steps": [{"id": "a"}], "fails": {"on": "e", "when": {"field": "quest.x", "op": "eq", "value": 1}}}, "quests.q.fails.when.field", "there is no quest 'x'"),
        ({"steps": [{"id": "a", "rewards": [{"currency": "gold", "value": 1}]}]}, "quests.q.steps[0].rewards[0].currency", "there is no currency 'gold'"),
    ],
)  # fmt: skip
def test_an_error_of_a_quest_names_its_path(quest: dict[str, Any], path: str, part: str) -> None:
    other = {"title": "r", "steps": [{"id": "a"}], "prerequisites": [{"quest": "q"}]}
    errors = [e for e in validate({**BASE, "quests": {"q": {"title": "q", **quest}, "r": other}}) if e.path == path]
    assert [part in error.message for error in errors[:1]] == [True], errors


def test_the_plan_marks_quests_that_depend_on_order() -> None:
    quests: dict[str, Any] = {
        "ordered": {"ordered": True, "steps": [{"id": "a", "on": "e"}, {"id": "b", "on": "e"}]},
        "limited": {"timeLimit": {"duration": 1, "unit": "days"}, "steps": [{"id": "a", "on": "e"}]},
        "daily": {"type": "daily", "steps": [{"id": "a", "on": "e"}]},
        "since": {"steps": [{"id": "a", "requirements": [{"metric": "tasks", "since": "start"}]}]},
        "dated": {"endsAt": "2026-02-01T00:00:00Z", "steps": [{"id": "a", "requirements": [{"metric": "tasks"}]}]},
        "waits": {"prerequisites": [{"metric": "tasks"}], "steps": [{"id": "a", "on": "e"}]},
        "fails": {"fails": {"on": "f"}, "steps": [{"id": "a", "on": "e"}]},
        "called": {"autoStart": False, "steps": [{"id": "a", "on": "e"}]},
        "extra": {"steps": [{"id": "a", "on": "e"}, {"id": "o", "on": "f", "optional": True}]},
        "reads": {
            "steps": [{"id": "a", "on": "e", "when": {"field": "quest.extra", "op": "eq", "value": "COMPLETED"}}]
        },
        "poor": {"steps": [{"id": "a", "requirements": [{"currency": "coins"}]}]},
        **ANY_ORDER,
    }
    document = {**BASE, "quests": {name: {"title": name, **quest} for name, quest in quests.items()}}
    assert validate(document) == []
    marked = {path.removeprefix("quests.") for path in order_dependent(parse(document)) if path.startswith("quests.")}
    assert marked == quests.keys() - ANY_ORDER.keys()
