"""Points on leaderboards.

A board of a currency or track ranks what was earned: issued to the user. Spending does not lower a score. A board of a
metric ranks the metric's value, or what the period made of it.
"""

from collections.abc import Sequence
from datetime import datetime, tzinfo
from decimal import Decimal

from questline.engine.draft import Draft
from questline.engine.numbers import EXACT, add
from questline.model import calendar
from questline.model.decision import POINT, BoardMode, BoardPoints
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
    return parts(value, decimals)[0]


def parts(value: Number, decimals: int) -> tuple[int, int]:
    """Return a value as (score, rest): whole points, rounded down, and the billionths of a point beyond them.

    Numbers of metrics have nine places at the most, so nothing is lost, and parts may be added up in any order.
    """
    if type(value) is int:
        return int(value * 10**decimals), 0
    return divmod(int(Decimal(value).scaleb(9 + decimals, EXACT)), POINT)


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
    if not by_metric:
        return
    for metric in (*draft.metrics, *(m for m in draft.operands if m not in draft.metrics)):
        for name, board in by_metric.get(metric, ()):
            keys = keys or draft.program.period_keys.of(at)
            for period in board.periods:
                change = metric_points(draft, metric, board.decimals, whole=period == "all-time")
                if change is not None:
                    mode, added, rest = change
                    points.append(BoardPoints(name, keys[period], mode, added, at, rest))


def metric_points(draft: Draft, metric: str, decimals: int, *, whole: bool) -> tuple[BoardMode, int, int] | None:
    """Return what an event does to a score of a metric, over all time (`whole`) or in the period: (mode, points, rest).

    A period's score is a function of the period's own events, so that their order does not matter: the best of them for
    `max`, and their sum, rounded down as a whole, for sums. All time follows the metric's value, which needs no rest.
    """
    change, before = draft.metrics.get(metric), draft.state.metrics.get(metric)
    match draft.program.metrics[metric].kind:
        case "max":
            number = draft.operands[metric]
            beaten = whole and before is not None and number < before.value
            return None if beaten else (BoardMode.MAX, score(number, decimals), 0)
        case "count" | "sum" | "distinct" if change is not None:
            after, old = change.state.value, before.value if before is not None else 0
            if whole:
                return BoardMode.ADD, score(after, decimals) - score(old, decimals), 0
            return BoardMode.ADD, *parts(add(after, -old), decimals)
        case "min" | "last" if change is not None:
            return BoardMode.SET, score(change.state.value, decimals), 0
    return None
