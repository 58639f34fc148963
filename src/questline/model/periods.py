"""Sets of period numbers, as PostgreSQL writes them: int4multirange texts such as `{[1,4),[6,7)}`."""

import re
from collections.abc import Iterable

Ranges = list[tuple[int, int]]  # sorted, disjoint, not adjacent; half-open

EMPTY = "{}"
_RANGE = re.compile(r"\[(-?\d+),(-?\d+)\)")


def parse(text: str) -> Ranges:
    """Return the ranges of a multirange text in canonical form (as PostgreSQL prints it)."""
    return [(int(low), int(high)) for low, high in _RANGE.findall(text)]


def format_ranges(ranges: Iterable[tuple[int, int]]) -> str:
    """Return the multirange text of ranges."""
    return "{" + ",".join(f"[{low},{high})" for low, high in ranges) + "}"


def single(period: int) -> str:
    """Return the text of the set of one period."""
    return f"{{[{period},{period + 1})}}"


def of(periods: Iterable[int]) -> Ranges:
    """Return the ranges of any periods."""
    return unite([(p, p + 1) for p in periods])


def unite(*sets: Iterable[tuple[int, int]]) -> Ranges:
    """Return the union of ranges, canonical."""
    ranges: Ranges = []
    for low, high in sorted(r for s in sets for r in s):
        if ranges and low <= ranges[-1][1]:
            if high > ranges[-1][1]:
                ranges[-1] = (ranges[-1][0], high)
        else:
            ranges.append((low, high))
    return ranges


def contains(ranges: Ranges, period: int) -> bool:
    """Tell whether a period is in the set."""
    return any(low <= period < high for low, high in ranges)


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
