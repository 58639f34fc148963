"""The shipped scenario: a team's own program, played as a table."""

from datetime import UTC, datetime
from uuid import UUID

import pytest

from questline.model.event import Event
from questline.testing.scenario import Scenario

PROGRAM = {
    "currencies": {"XP": {"kind": "xp", "levels": {"curve": "sqrt", "base": 100}}, "coins": {"kind": "currency"}},
    "metrics": {"hard": {"on": "task", "when": {"field": "hard", "op": "eq", "value": True}, "count": True}},
    "rules": {"task": {"on": "task", "award": {"XP": 60, "coins": 5}}},
    "streaks": {"daily": {"on": "task", "milestones": {"2": {"award": {"coins": 7}}}}},
    "achievements": {"hard": {"title": "Hard", "requirements": [{"metric": "hard"}]}},
    "boards": {"xp": {"currency": "XP", "periods": ["daily", "all-time"]}},
}


def test_a_table_of_events_gives_the_effects_of_each_and_the_final_state() -> None:
    scenario = Scenario(PROGRAM)
    # time, user, type, payload, effects
    table = [
        ("2026-01-05T12:00Z", "ada", "task", {},                               ("XP +60 rule:task", "coins +5 rule:task", "streak daily 0 → 1")),
        ("2026-01-05T13:00Z", "bob", "task", {},                               ("XP +60 rule:task", "coins +5 rule:task", "streak daily 0 → 1")),
        ("2026-01-06T12:00Z", "ada", "task", {"hard": True},                   ("coins +7 streak:daily:2", "XP +60 rule:task", "coins +5 rule:task", "metric hard = 1", "streak daily 1 → 2", "level XP 1 → 2", "unlock hard tier 1 x1")),
        ("2026-01-06T13:00Z", "ada", "$spend", {"currency": "coins", "amount": 9},  ("coins -9 command:spend",)),
        ("2026-01-06T14:00Z", "ada", "$spend", {"currency": "coins", "amount": 9},  ("refused INSUFFICIENT_BALANCE",)),
        ("2026-01-06T15:00Z", "ada", "other", {},                              ()),
    ]  # fmt: skip
    assert [p.effects for p in scenario.play(row[:4] for row in table)] == [row[4] for row in table]
    assert {user: state.balances for user, state in scenario.users.items()} == {
        "ada": {"XP": 120, "coins": 8},
        "bob": {"XP": 60, "coins": 5},
    }
    assert scenario.boards == {
        ("xp", "2026-01-05", "ada"): 60, ("xp", "2026-01-05", "bob"): 60, ("xp", "2026-01-06", "ada"): 60,
        ("xp", "all-time", "ada"): 120, ("xp", "all-time", "bob"): 60,
    }  # fmt: skip


def test_rows_may_leave_the_user_out() -> None:
    scenario = Scenario(PROGRAM)
    scenario.play([("2026-01-05T12:00Z", "task", {})])
    assert scenario.user().balances == {"XP": 60, "coins": 5}


def test_an_event_applied_before_changes_nothing_again() -> None:
    scenario = Scenario(PROGRAM)
    event = Event(UUID(int=7), 1, "task", "ada", {}, datetime(2026, 1, 5, tzinfo=UTC))
    assert scenario.apply(event) == scenario.apply(event)
    assert scenario.user("ada").balances == {"XP": 60, "coins": 5}


def test_a_time_without_an_offset_is_an_error() -> None:
    with pytest.raises(ValueError, match="has no offset"):
        Scenario(PROGRAM).play([("2026-01-05T12:00", "task", {})])
