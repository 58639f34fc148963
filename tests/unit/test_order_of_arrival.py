"""Promise 3: same events, same state, whatever the order they arrive in. `integration/test_repeats.py` is about how often."""

from collections import defaultdict
from datetime import timedelta
from typing import Any
from uuid import UUID

from hypothesis import given, settings
from hypothesis import strategies as st
from scenario import START

from questline.model import calendar
from questline.model.event import Event
from questline.testing.scenario import Scenario

DOCUMENT: dict[str, Any] = {
    "currencies": {
        "XP": {"kind": "xp", "levels": {"curve": "sqrt", "base": 10, "rewards": {"3": {"award": {"coins": 5}}}}},
        "coins": {"kind": "currency"},
        "score": {"kind": "xp"},
    },
    "metrics": {
        "count": {"on": "a", "count": True}, "sum": {"on": ["a", "b"], "when": {"field": "v", "op": "gte", "value": 0}, "sum": "v"}, "min": {"on": "b", "min": "v"},
        "max": {"on": "a", "max": "v"}, "last": {"on": "*", "last": "v"}, "distinct": {"on": "*", "distinct": "v"},
    },
    "rules": {
        "constant": {"on": "a", "award": {"XP": 7, "coins": 2}},
        "field": {"on": "b", "when": {"field": "v", "op": "gt", "value": 0}, "award": {"XP": {"field": "v", "times": 0.7}}},
        "scored": {"on": "*", "award": {"score": {"field": "v", "times": 3}}},
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
        "xp": {"currency": "XP", "periods": ["daily", "weekly", "monthly", "yearly", "all-time"]},
        "score": {"currency": "score", "periods": ["daily", "weekly", "monthly", "yearly", "all-time"]},
        "count": {"metric": "count", "periods": ["weekly", "all-time"]},
        "sum": {"metric": "sum", "periods": ["daily", "all-time"], "decimals": 1},
        "max": {"metric": "max", "periods": ["daily", "weekly", "all-time"]}, "distinct": {"metric": "distinct"},
    },
}  # fmt: skip

values = st.one_of(st.integers(-5, 30), st.floats(-3, 9, allow_nan=False).map(lambda f: round(f, 3)), st.none())
events = st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 15 * 24), values), min_size=1, max_size=25)


def events_of(facts: Any) -> list[Event]:
    return [
        Event(UUID(int=i + 1), 1, type_, "ada", {} if v is None else {"v": v}, START + timedelta(hours=hours))
        for i, (type_, hours, v) in enumerate(facts)
    ]


def played(sequence: list[Event]) -> Scenario:
    """The final state. Each event comes once: who sends it again is held off before the engine."""
    scenario = Scenario(DOCUMENT)
    for event in sequence:
        scenario.apply(event)
    return scenario


def final_state(scenario: Scenario) -> dict[str, Any]:
    state = scenario.user("ada")
    streaks = {n: (s.active, s.length, s.longest, s.freeze_credit) for n, s in state.streaks.items()}
    unlocked = {name: (a.tier, a.times) for name, a in state.achievements.items()}
    # What a level, a milestone or an achievement pays falls into the period of the event that crossed the threshold, so
    # the periods of a track they pay may differ; a track that rules alone award is compared in every period.
    boards = {key: score for key, score in scenario.boards.items() if key[0] != "xp" or key[1] == "all-time"}
    return {
        "balances": state.balances, "levels": state.levels, "metrics": state.metrics, "seen": state.seen_values,
        "streaks": streaks, "unlocked": unlocked, "boards": boards,
    }  # fmt: skip


@settings(max_examples=80)
@given(events, st.randoms(use_true_random=False))
def test_any_permutation_of_awarding_events_gives_the_same_final_state(facts: Any, chance: Any) -> None:
    sequence = events_of(facts)
    shuffled = chance.sample(sequence, len(sequence))
    assert final_state(played(shuffled)) == final_state(played(sequence))


@settings(max_examples=40)
@given(events)
def test_what_a_track_earned_is_spread_over_its_periods_and_nothing_of_it_lost(facts: Any) -> None:
    scenario = played(events_of(facts))
    sums: dict[str, int] = defaultdict(int)
    for (board, period, _), score in scenario.boards.items():
        if board == "xp":
            sums[calendar.period_of_key(period)] += score
    earned = scenario.user("ada").balances.get("XP", 0)
    assert set(sums.values()) <= {earned}
    assert len(sums) == (5 if earned else 0)
