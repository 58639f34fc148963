"""Points on leaderboards.

A board of a currency or track ranks what was earned: issued to the user. Spending does not lower a score. A board of a
metric ranks the metric's value, or what the period added to it.
"""

from collections.abc import Sequence
from datetime import datetime, tzinfo
from decimal import Decimal

from questline.engine.draft import Draft
from questline.engine.numbers import ROUNDINGS
from questline.model import calendar
from questline.model.decision import BoardMode, BoardPoints
from questline.model.program import Board
from questline.model.state import Number

_KEYS_KEPT = 4_096


class PeriodKeys:
    """Period keys by local date: worked out once a day, not once an event."""

    def __init__(self, zone: tzinfo) -> None:
        self._zone = zone
        self._days: dict[int, dict[str, str]] = {}

    def of(self, at: datetime) -> dict[str, str]:
        """Return the key of each kind of period that an instant lies in."""
        there = calendar.local(at, self._zone)
        day = there.toordinal()
        keys = self._days.get(day)
        if keys is None:
            if len(self._days) >= _KEYS_KEPT:
                self._days.clear()
            keys = self._days[day] = {p: calendar.period_key(p, at, self._zone) for p in calendar.PERIOD_KEY_NAMES}
        return keys


NamedBoards = Sequence[tuple[str, Board]]


def score(value: Number, decimals: int) -> int:
    """Return a value as a score: times ten to the board's decimals, rounded down."""
    if type(value) is int:
        return int(value * 10**decimals)
    return int(Decimal(value).scaleb(decimals).to_integral_value(ROUNDINGS["floor"]))


def add_points(draft: Draft, by_currency: dict[str, NamedBoards], by_metric: dict[str, NamedBoards]) -> None:
    """Add the points of all that the draft has earned and counted."""
    at = draft.event.occurred_at
    keys: dict[str, str] | None = None
    points = draft.points
    for currency, amount in draft.earned.items():
        for name, board in by_currency.get(currency, ()):
            keys = keys or draft.program.period_keys.of(at)
            for period in board.periods:
                points.append(BoardPoints(name, keys[period], BoardMode.ADD, amount, at))
    for metric, change in draft.metrics.items():
        boards = by_metric.get(metric, ())
        if not boards:
            continue
        keys = keys or draft.program.period_keys.of(at)
        kind = draft.program.metrics[metric].kind
        before = draft.state.metrics.get(metric)
        for name, board in boards:
            after = score(change.state.value, board.decimals)
            if kind in ("count", "sum", "distinct"):
                mode, value = BoardMode.ADD, after - (score(before.value, board.decimals) if before else 0)
            elif kind == "max":
                mode, value = BoardMode.MAX, after
            else:
                mode, value = BoardMode.SET, after
            for period in board.periods:
                points.append(BoardPoints(name, keys[period], mode, value, at))
