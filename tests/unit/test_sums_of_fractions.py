"""What ranks a sum of fractions: a period's score is the sum of its events, rounded down once, in any order."""

from collections import defaultdict
from datetime import UTC, datetime, timedelta
from decimal import ROUND_FLOOR, Decimal
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from questline.model import calendar
from questline.model.event import Event
from questline.store.boards import BoardRows
from questline.store.leagues import LeagueRows
from questline.testing.scenario import Scenario

MONDAY = datetime(2026, 1, 5, tzinfo=UTC)
PERIODS = ["daily", "weekly", "monthly", "yearly", "all-time"]


def program(decimals: int) -> dict[str, Any]:
    ranked = {"metric": "km", "decimals": decimals}
    return {
        "metrics": {"km": {"on": "t", "sum": "v"}},
        "boards": {"km": {**ranked, "periods": PERIODS}},
        "seasons": {"winter": {"start": "2026-01-06", "end": "2026-01-20", "boards": {"km": ranked}}},
        "leagues": {"weekly": {**ranked, "tiers": [{}]}},
    }


@pytest.mark.parametrize(
    ("decimals", "values", "score"),
    [
        (0, [0.9] * 10,                    9),
        (0, [0.5, -0.5] * 5,               0),
        (0, [-0.5] * 5 + [0.5] * 5,        0),
        (0, [-0.5] * 3,                    -2),
        (2, [0.105] * 2,                   21),
        (9, [0.000000001] * 3,             3),
        (0, [0.000000001] * 3,             0),
        (3, [2, 2],                        4000),
        (0, [2**51 + 0.5] * 2,             2**52 + 1),
        (0, [2**62, -(2**62), 0.75, 0.25], 1),
    ],
)  # fmt: skip
def test_a_day_ranks_the_sum_of_its_events_as_all_time_does(decimals: int, values: list[float], score: int) -> None:
    scenario = Scenario(program(decimals))
    scenario.play([(MONDAY + timedelta(days=1, minutes=n), "t", {"v": v}) for n, v in enumerate(values)])
    assert {scenario.boards["km", key, "ada"] for key in ("2026-01-06", "2026-W02", "2026-01", "2026", "all-time")} == {
        score
    }
    assert scenario.boards["winter/km", "winter", "ada"] == score


values = st.one_of(st.integers(-5, 5), st.floats(-9, 9).map(lambda f: round(f, 3)), st.floats(-1e6, 1e6), st.just(1e-9))
facts = st.lists(st.tuples(st.integers(0, 20 * 24), values), min_size=1, max_size=20)


@settings(max_examples=150)
@given(facts, st.integers(0, 9), st.randoms(use_true_random=False))
def test_every_periods_score_is_its_sum_rounded_down_in_any_order_and_any_batches(
    found: list[tuple[int, float]], decimals: int, chance: Any
) -> None:
    chance.shuffle(found)
    scenario, boards, leagues = Scenario(program(decimals)), BoardRows(), LeagueRows()
    sums: dict[tuple[str, str], Decimal] = defaultdict(Decimal)
    weeks: dict[int, Decimal] = defaultdict(Decimal)
    for number, (hour, value) in enumerate(found):
        at = MONDAY + timedelta(hours=hour)
        decision = scenario.apply(Event(UUID(int=number + 1), 1, "t", "ada", {"v": value}, at))
        boards.add(1, 1, decision.board_points)
        leagues.add(1, 1, decision.league_points)
        exact = Decimal(repr(value)).quantize(Decimal("1e-9"))
        for period in PERIODS:
            sums["km", calendar.period_key(period, at, UTC)] += exact
        if datetime(2026, 1, 6, tzinfo=UTC) <= at < datetime(2026, 1, 20, tzinfo=UTC):
            sums["winter/km", "winter"] += exact
        weeks[calendar.period_number("week", at, UTC)] += exact

    def floor(number: Decimal) -> int:
        return int(number.scaleb(decimals).to_integral_value(ROUND_FLOOR))

    expected = {key: floor(number) for key, number in sums.items()}
    assert {(board, period): score for (board, period, _), score in scenario.boards.items()} == expected
    assert {key[1:3]: change[1] for key, change in boards.sorted_rows()} == expected
    assert {key[2]: change[1] for key, change, _ in leagues.sorted_rows()} == {w: floor(n) for w, n in weeks.items()}
