"""Streaks: the same for every order of arrival, mended by late events, kept by freezes and grace."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scenario import Scenario

from questline.engine.streaks import advance, as_of, fold
from questline.model import periods
from questline.model.program import Freezes, Streak
from questline.model.state import StreakState

PLAIN = Streak(on="e")
FROZEN = Streak(on="e", freezes=Freezes(max=2, earn_every=3))

definitions = st.sampled_from([PLAIN, FROZEN, Streak(on="e", freezes=Freezes(max=1, earn_every=1))])
days = st.lists(st.tuples(st.integers(1, 40), st.sets(st.integers(1, 41), max_size=1)), min_size=1, max_size=40)


def arrive(definition: Streak, events: list[tuple[int, set[int]]]) -> StreakState:
    state = None
    for period, excused in events:
        change = advance("s", definition, state, period, tuple(excused))
        if change is not None:
            if state is not None:  # what the store does: unite what was there with what is added
                united = periods.unite(periods.parse(state.active), periods.parse(change.added_active))
                assert periods.format_ranges(united) == change.state.active
            state = change.state
    assert state is not None
    return state


@given(definitions, days, st.randoms(use_true_random=False))
def test_any_order_of_arrival_gives_the_same_streak(definition: Streak, events: Any, chance: Any) -> None:
    shuffled = list(events)
    chance.shuffle(shuffled)
    first, second = arrive(definition, events), arrive(definition, shuffled + events)
    assert (first.active, first.run_start, first.length, first.freeze_credit) == (
        second.active, second.run_start, second.length, second.freeze_credit,
    )  # fmt: skip
    assert first.longest == second.longest


@given(definitions, days)
def test_the_fast_path_agrees_with_a_fold_of_the_whole_set(definition: Streak, events: Any) -> None:
    state = arrive(definition, events)
    start, last, length, _, credit = fold(definition, periods.parse(state.active), periods.parse(state.excused))
    assert (state.run_start, state.last_period, state.length, state.freeze_credit) == (start, last, length, credit)


@given(definitions, days, st.integers(1, 40))
def test_one_more_active_period_never_shortens_the_longest_run(definition: Streak, events: Any, more: int) -> None:
    plain = [(period, set()) for period, _ in events]
    assert arrive(definition, [*plain, (more, set())]).longest >= arrive(definition, plain).longest


@pytest.mark.parametrize(
    ("definition", "active", "length", "longest"),
    [
        (PLAIN, [1, 2, 3], 3, 3),
        (PLAIN, [1, 2, 4], 1, 2),
        (PLAIN, [1, 3, 2], 3, 3),  # a late event mends
        (FROZEN, [1, 2, 3, 5], 4, 4),  # three earn one freeze, the gap takes it
        (FROZEN, [1, 2, 4], 1, 2),  # two earn none
        (FROZEN, [1, 2, 3, 5, 7], 1, 4),  # one is not enough for a second gap
        (FROZEN, [1, 2, 3, 4, 5, 6, 9], 7, 7),  # two freezes bridge two days
    ],
)
def test_gaps_cost_freezes_and_break_without(definition: Streak, active: list[int], length: int, longest: int) -> None:
    state = arrive(definition, [(period, set()) for period in active])
    assert (state.length, state.longest) == (length, longest)


@pytest.mark.parametrize(("today", "expected"), [(3, (3, 1)), (4, (3, 1)), (5, (3, 0)), (6, (0, 0))])
def test_a_streak_is_broken_on_read_once_its_gap_cannot_be_bridged(today: int, expected: tuple[int, int]) -> None:
    assert as_of(FROZEN, arrive(FROZEN, [(1, set()), (2, set()), (3, set())]), today) == expected


def test_grace_excuses_the_day_before_without_counting_it() -> None:
    program = {"streaks": {"daily": {"on": "e", "graceHours": 3}}}
    scenario = Scenario(program)
    start = datetime(2026, 1, 1, 20, tzinfo=UTC)
    scenario.at(start, "e")
    scenario.at(datetime(2026, 1, 3, 1, tzinfo=UTC), "e")  # an hour after the missed day ended
    assert scenario.state.streaks["daily"].length == 2
    scenario.at(datetime(2026, 1, 5, 4, tzinfo=UTC), "e")  # four hours after: too late
    assert scenario.state.streaks["daily"].length == 1


def test_a_date_that_never_was_does_not_break_a_streak() -> None:
    scenario = Scenario({"streaks": {"daily": {"on": "e"}}}, timezone="Pacific/Apia")
    for at in ("2011-12-28T22:00:00+00:00", "2011-12-29T22:00:00+00:00", "2011-12-30T22:00:00+00:00"):
        scenario.at(datetime.fromisoformat(at), "e")  # 28, 29 and 31 December in Apia
    assert scenario.state.streaks["daily"].length == 3


def test_a_move_across_the_date_line_breaks_nothing_and_counts_no_date_twice() -> None:
    scenario = Scenario({"streaks": {"daily": {"on": "e"}}}, timezone="Etc/GMT+12")
    scenario.at(datetime(2025, 12, 31, 10, tzinfo=UTC), "e")  # 30 December
    scenario.at(datetime(2026, 1, 1, 10, tzinfo=UTC), "e")  # 31 December, 22:00
    scenario.at(datetime(2026, 1, 1, 10, 30, tzinfo=UTC), "$profile_update", timezone="Pacific/Kiritimati")
    scenario.at(datetime(2026, 1, 1, 11, tzinfo=UTC), "e")  # 2 January there: 1 January was skipped
    assert scenario.state.streaks["daily"].length == 3
    scenario.at(datetime(2026, 1, 2, 11, tzinfo=UTC), "$profile_update", timezone="Etc/GMT+12")
    scenario.at(datetime(2026, 1, 2, 13, tzinfo=UTC), "e")  # 2 January once more
    assert scenario.state.streaks["daily"].length == 3


def test_a_late_event_is_dated_in_the_zone_in_force_when_it_happened() -> None:
    scenario = Scenario({"streaks": {"daily": {"on": "e"}}}, timezone="Asia/Tokyo")
    scenario.at(datetime(2026, 1, 10, tzinfo=UTC), "$profile_update", timezone="UTC")
    scenario.at(datetime(2026, 1, 5, 20, tzinfo=UTC), "e")  # 6 January in Tokyo
    assert scenario.state.streaks["daily"].last_period == datetime(2026, 1, 6).toordinal()  # noqa: DTZ001


def test_weeks_run_across_the_turn_of_a_year() -> None:
    scenario = Scenario({"streaks": {"weekly": {"on": "e", "every": "week"}}})
    for week in range(4):
        scenario.at(datetime(2020, 12, 21, 9, tzinfo=UTC) + timedelta(weeks=week), "e")
    assert scenario.state.streaks["weekly"].length == 4


def test_a_leap_day_is_a_day_like_others() -> None:
    scenario = Scenario({"streaks": {"daily": {"on": "e"}}})
    for day in ("2024-02-28", "2024-02-29", "2024-03-01"):
        scenario.at(datetime.fromisoformat(f"{day}T12:00:00+00:00"), "e")
    assert scenario.state.streaks["daily"].length == 3
