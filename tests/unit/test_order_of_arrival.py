"""Promise 3: same events, same state, whatever the order they arrive in and however often."""

from datetime import timedelta
from typing import Any
from uuid import UUID

from hypothesis import given, settings
from hypothesis import strategies as st
from scenario import START

from questline.model.event import Event
from questline.testing.scenario import Scenario

DOCUMENT: dict[str, Any] = {
    "currencies": {
        "XP": {"kind": "xp", "levels": {"curve": "sqrt", "base": 10, "rewards": {"3": {"award": {"coins": 5}}}}},
        "coins": {"kind": "currency"},
    },
    "metrics": {
        "count": {"on": "a", "count": True}, "sum": {"on": ["a", "b"], "when": {"field": "v", "op": "gte", "value": 0}, "sum": "v"}, "min": {"on": "b", "min": "v"},
        "max": {"on": "a", "max": "v"}, "last": {"on": "*", "last": "v"}, "distinct": {"on": "*", "distinct": "v"},
    },
    "rules": {
        "constant": {"on": "a", "award": {"XP": 7, "coins": 2}},
        "field": {"on": "b", "when": {"field": "v", "op": "gt", "value": 0}, "award": {"XP": {"field": "v", "times": 0.7}}},
        "night": {"on": "*", "award": {"coins": 3}, "multiply": [{"hours": [22, 6], "by": 1.5}]},
    },
    "streaks": {
        "daily": {"on": "*", "freezes": {"max": 2, "earnEvery": 2}, "graceHours": 3,
                  "milestones": {"2": {"award": {"coins": 11}}, "4": {"award": {"XP": 13}}}},
        "weekly": {"on": "a", "every": "week"},
    },
    "achievements": {
        "tiers": {"title": "t", "requirements": [{"metric": "count"}],
                  "tiers": [{"threshold": n, "rewards": [{"currency": "XP", "value": n}]} for n in (1, 3, 6)]},
        "again": {"title": "r", "requirements": [{"metric": "sum", "threshold": 10}], "repeatable": True,
                  "rewards": [{"currency": "coins", "value": 4}]},
        "run": {"title": "s", "requirements": [{"streak": "daily", "threshold": 3}, {"level": "XP", "threshold": 2}]},
    },
    "boards": {
        "xp": {"currency": "XP"}, "count": {"metric": "count", "periods": ["weekly", "all-time"]},
        "sum": {"metric": "sum", "periods": ["daily", "all-time"], "decimals": 1},
        "max": {"metric": "max", "periods": ["daily", "weekly", "all-time"]}, "distinct": {"metric": "distinct"},
    },
}  # fmt: skip

values = st.one_of(st.integers(-5, 30), st.floats(-3, 9, allow_nan=False).map(lambda f: round(f, 3)), st.none())
events = st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 15 * 24), values), min_size=1, max_size=25)


def final_state(sequence: list[Event]) -> dict[str, Any]:
    scenario = Scenario(DOCUMENT)
    for event in sequence:
        scenario.apply(event)  # a duplicate never reaches the engine
    state = scenario.user("ada")
    streaks = {n: (s.active, s.length, s.longest, s.freeze_credit) for n, s in state.streaks.items()}
    unlocked = {name: (a.tier, a.times) for name, a in state.achievements.items()}
    # Periods of a track may differ where consequences are paid: they go by the time of the event that caused them.
    boards = {key: score for key, score in scenario.boards.items() if key[0] != "xp" or key[1] == "all-time"}
    return {
        "balances": state.balances, "levels": state.levels, "metrics": state.metrics, "seen": state.seen_values,
        "streaks": streaks, "unlocked": unlocked, "boards": boards,
    }  # fmt: skip


@settings(max_examples=120, deadline=None)
@given(events, st.randoms(use_true_random=False))
def test_any_permutation_and_duplication_of_awarding_events_gives_the_same_final_state(facts: Any, chance: Any) -> None:
    sequence = [
        Event(UUID(int=i + 1), 1, type_, "ada", {} if v is None else {"v": v}, START + timedelta(hours=hours))
        for i, (type_, hours, v) in enumerate(facts)
    ]
    other = sequence + chance.choices(sequence, k=5)
    chance.shuffle(other)
    assert final_state(other) == final_state(sequence)
