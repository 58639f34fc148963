"""Sets of period numbers, as PostgreSQL writes them: int4multirange texts such as `{[1,4),[6,7)}`."""

from bisect import bisect_right
from collections.abc import Iterable
from itertools import chain

Ranges = list[tuple[int, int]]  # sorted, disjoint, not adjacent; half-open

EMPTY = "{}"
_BEYOND = 2**31  # above every period number


def parse(text: str) -> Ranges:
    """Return the ranges of a multirange text in canonical form (as PostgreSQL prints it)."""
    if text == EMPTY:
        return []
    bounds = list(map(int, text[2:-2].replace("),[", ",").split(",")))
    return list(zip(bounds[::2], bounds[1::2], strict=True))


def format_ranges(ranges: Iterable[tuple[int, int]]) -> str:
    """Return the multirange text of ranges."""
    return "{" + ",".join([f"[{low},{high})" for low, high in ranges]) + "}"


def single(period: int) -> str:
    """Return the text of the set of one period."""
    return f"{{[{period},{period + 1})}}"


def of(periods: Iterable[int]) -> Ranges:
    """Return the ranges of any periods."""
    return unite([(p, p + 1) for p in periods])


def unite(*sets: Iterable[tuple[int, int]]) -> Ranges:
    """Return the union of ranges, canonical."""
    filled = [list(s) for s in sets if s]
    if len(filled) == 1 and len(filled[0]) <= 1:
        return filled[0]
    ranges: Ranges = []
    for low, high in sorted(chain.from_iterable(filled)):
        if ranges and low <= ranges[-1][1]:
            if high > ranges[-1][1]:
                ranges[-1] = (ranges[-1][0], high)
        else:
            ranges.append((low, high))
    return ranges


def contains(ranges: Ranges, period: int) -> bool:
    """Tell whether a period is in the set."""
    place = bisect_right(ranges, (period, _BEYOND))
    return place > 0 and period < ranges[place - 1][1]


def count_between(ranges: Ranges, low: int, high: int) -> int:
    """Return how many members lie in [low, high)."""
    return sum(max(0, min(end, high) - max(start, low)) for start, end in ranges)


def append(text: str, period: int) -> str:
    """Return the text with a period added that lies at or after its end; no parsing, whatever the set's size."""
    if text == EMPTY:
        return single(period)
    comma = text.rindex(",")
    end = int(text[comma + 1 : -2])
    if period == end:
        return f"{text[: comma + 1]}{period + 1})}}"
    return f"{text[:-1]},[{period},{period + 1})}}"
