"""What events of the past count in a metric that came after them, against a program that had it from the beginning."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from hypothesis import given, settings
from hypothesis import strategies as st

from questline.engine.contributions import Contributions
from questline.model.event import BACKFILL, Event
from questline.model.state import UserState
from questline.testing.scenario import Scenario

START = datetime(2026, 1, 5, 12, tzinfo=UTC)
HARD = {"field": "difficulty", "op": "eq", "value": "hard"}
KINDS: dict[str, dict[str, Any]] = {
    "count": {"count": True},
    **{k: {k: "v"} for k in ("sum", "min", "max", "last", "distinct")},
}
ONLY_ALL_TIME = ("min", "last", "distinct")
Fact = tuple[int, Any, str]  # hours after START, value, difficulty


def program(days: int) -> dict[str, Any]:
    timeframe = {"duration": days, "unit": "days"}
    periods = {kind: ["all-time"] if kind in ONLY_ALL_TIME else ["daily", "weekly", "all-time"] for kind in KINDS}
    return {
        "metrics": {kind: {"on": "task", "when": HARD, **how} for kind, how in KINDS.items()},
        "boards": {kind: {"metric": kind, "decimals": 2, "periods": periods[kind]} for kind in KINDS},
        "achievements": {
            kind: {"title": kind, "requirements": [{"metric": kind, "threshold": 10**9, "timeframe": timeframe}]}
            for kind in ("count", "sum")
        },
    }


def event_of(number: int, fact: Fact) -> Event:
    hours, value, difficulty = fact
    payload = {"v": value, "difficulty": difficulty}
    return Event(UUID(int=number), 1, "task", "ada", payload, START + timedelta(hours=hours))


facts = st.lists(
    st.tuples(
        st.integers(0, 24 * 20),
        st.sampled_from((1, 2, 2.0, 0.1, 0.25, -3, "x", "1", None, True, [1], 10**20)),
        st.sampled_from(("hard", "hard", "easy")),
    ),
    max_size=16,
)


@settings(max_examples=300, deadline=None)
@given(facts, st.integers(0, 16), st.integers(0, 16), st.integers(1, 12))
def test_whenever_a_program_comes_a_backfill_makes_its_metrics_what_they_would_always_have_been(
    facts: list[Fact], came: int, backfilled: int, days: int
) -> None:
    events = [event_of(number, fact) for number, fact in enumerate(facts, 1)]
    new, always = Scenario(program(days)), Scenario(program(days))
    for event in events:
        always.apply(event)
    late = [
        (event, kind, found)
        for event in events[:came]
        for kind in KINDS
        if (found := Contributions(new.program, kind).payload_of(UserState(1, "ada"), event)) is not None
    ]
    for event in events[came : came + backfilled]:
        new.apply(event)
    for number, (event, kind, found) in enumerate(late, 1_000):
        payload = {"event": str(event.id), "metric": kind, **found}
        new.apply(Event(UUID(int=number), 1, BACKFILL, "ada", payload, event.occurred_at))
    for event in events[came + backfilled :]:
        new.apply(event)
    assert new.user() == always.user()
    assert new.boards == always.boards
