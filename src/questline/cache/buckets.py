"""Token buckets: tokens flow into a bucket at a rate until it is full, and each request takes some out.

`Buckets` is the interface. This version counts in its own process and gives it a fair share of each limit; one that
counts for all processes together takes the whole, and says so by never dividing.
"""

import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from typing import Protocol

import msgspec


class Limit(msgspec.Struct, frozen=True, gc=False):
    """So many tokens flow in a second; a full bucket holds so many seconds' worth."""

    per_second: float
    seconds: int

    @property
    def room(self) -> float:
        """Return how many tokens a full bucket holds: one at least."""
        return max(1.0, self.per_second * self.seconds)


class Ask(msgspec.Struct, frozen=True, gc=False):
    """Tokens wanted from a bucket; 0 only asks whether it is empty."""

    bucket: Hashable
    limit: Limit
    tokens: int = 1


class Level(msgspec.Struct, frozen=True, gc=False):
    """A bucket after it was asked: the limit it went by, what is left, and how long until it has what was wanted."""

    limit: Limit
    left: float
    wait_seconds: float = 0.0


class Buckets(Protocol):
    """Where the tokens are counted."""

    async def take(self, asks: Sequence[Ask]) -> list[Level]:
        """Take from every bucket, or from none where one lacks them: that one has `wait_seconds`.

        More tokens than a bucket holds are given by a full one, which then owes the rest.
        """
        ...


class MemoryBuckets:
    """Buckets of one process, at most so many: the longest unused is forgotten, which by then has mostly refilled.

    `processes` share each limit evenly, because none knows what the others gave.
    """

    def __init__(self, entries_max: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.processes = 1
        self._entries_max = entries_max
        self._clock = clock
        self._buckets: OrderedDict[Hashable, tuple[float, float]] = OrderedDict()  # tokens, as of

    async def take(self, asks: Sequence[Ask]) -> list[Level]:
        """See Buckets."""
        now = self._clock()
        levels = [self._level(ask, now) for ask in asks]
        taken = not any(level.wait_seconds for level in levels)
        for position, (ask, level) in enumerate(zip(asks, levels, strict=True)):
            if taken and ask.tokens:
                levels[position] = level = Level(level.limit, level.left - ask.tokens)
            self._buckets[ask.bucket] = (level.left, now)
            self._buckets.move_to_end(ask.bucket)
        while len(self._buckets) > self._entries_max:
            self._buckets.popitem(last=False)
        return levels

    def _level(self, ask: Ask, now: float) -> Level:
        limit = ask.limit
        if self.processes > 1:
            limit = Limit(limit.per_second / self.processes, limit.seconds)
        room = limit.room
        left, at = self._buckets.get(ask.bucket, (room, now))
        left = min(room, left + (now - at) * limit.per_second)
        lacking = min(max(ask.tokens, 1), room) - left
        return Level(limit, left, max(0.0, lacking / limit.per_second))
