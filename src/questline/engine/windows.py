"""Metrics over rolling windows: buckets of minutes, hours or days, and the sums of as many of them as a timeframe has.

A timeframe of n units is the minute, hour or day that an event lies in and the n - 1 before it. Windows go by
occurredAt: a late event is added to its own bucket, and every window that holds it is looked at, so that what a threshold
earns is the same in any order of arrival. Twice the longest timeframe is kept, because the windows of an event that is late
by a whole timeframe reach back another; what is later than that counts in the metric, and in no window.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from itertools import accumulate
from typing import TYPE_CHECKING, cast

from questline.engine.numbers import add
from questline.engine.requirements import requirements_of
from questline.model import calendar
from questline.model.items import Span
from questline.model.program import ProgramDocument
from questline.model.records import RecordKind
from questline.model.state import Number
from questline.model.windows import Bucket, WindowState, window_name

if TYPE_CHECKING:
    from questline.engine.draft import Draft

Spans = dict[str, tuple[Span, ...]]  # metric → the longest timeframe of each unit


def spans_of(program: ProgramDocument) -> Spans:
    """Return, by metric, the longest timeframe of each unit that a requirement looks at it through."""
    longest: dict[str, dict[str, Span]] = {}
    for requirement in requirements_of(program):
        span = requirement.timeframe
        if requirement.metric is not None and span is not None:
            known = longest.setdefault(requirement.metric, {}).get(span.unit)
            if known is None or span.duration > known.duration:
                longest[requirement.metric][span.unit] = span
    return {metric: tuple(spans.values()) for metric, spans in longest.items()}


def record(draft: "Draft", metric: str, amount: Number, units: Sequence[str] | None = None) -> None:
    """Add what an event counted to the buckets of its time: of all units that are kept, or of some."""
    for span in draft.program.windows[metric]:
        if units is not None and span.unit not in units:
            continue
        name = window_name(metric, span)
        number = calendar.bucket_number(span.unit, draft.event.occurred_at, draft.zone)
        state = cast(WindowState | None, draft.record(RecordKind.WINDOW, name))
        buckets = added(state.buckets if state is not None else (), number, amount, 2 * span.duration)
        if buckets is not None:
            draft.put(RecordKind.WINDOW, name, WindowState(buckets), f"metric:{metric}")


def added(buckets: tuple[Bucket, ...], number: int, amount: Number, kept: int) -> tuple[Bucket, ...] | None:
    """Return buckets with an amount added to one, those before the last `kept` left out; None for one of these."""
    place = bisect_left(buckets, number, key=lambda bucket: bucket[0])
    if place < len(buckets) and buckets[place][0] == number:
        new = (*buckets[:place], (number, add(buckets[place][1], amount)), *buckets[place + 1 :])
    else:
        new = (*buckets[:place], (number, amount), *buckets[place:])
    first = bisect_right(new, new[-1][0] - kept, key=lambda bucket: bucket[0])
    return None if place < first else new[first:]


def ending(buckets: tuple[Bucket, ...], number: int, length: int) -> Number:
    """Return the sum of the window of `length` buckets that ends with one."""
    return _Sums(buckets).ending(number, length)


def most(buckets: tuple[Bucket, ...], number: int, length: int) -> Number:
    """Return the largest sum of a window that holds a bucket: it ends there, or with a later one that has activity."""
    sums = _Sums(buckets)
    later = [end for end, _ in buckets if number < end < number + length]
    return max(sums.ending(end, length) for end in (number, *later))


def best(buckets: tuple[Bucket, ...], number: int, length: int) -> Number:
    """Return the largest sum of a window of all that are kept, or of the one that ends with a bucket."""
    sums = _Sums(buckets)
    return max(sums.ending(end, length) for end in (number, *(end for end, _ in buckets)))


class _Sums:
    """Sums of windows, each the difference of two running totals."""

    def __init__(self, buckets: tuple[Bucket, ...]) -> None:
        self._numbers = [number for number, _ in buckets]
        amounts: list[Number] = [0, *(amount for _, amount in buckets)]
        self._totals = list(accumulate(amounts, add))

    def ending(self, number: int, length: int) -> Number:
        """Return the sum of the buckets after number - length, up to and including number."""
        low, high = bisect_right(self._numbers, number - length), bisect_right(self._numbers, number)
        return add(self._totals[high], -self._totals[low])
