"""How groups of one stream are stored at once and yet in order."""

import asyncio

LANES = 2  # a user's events are all in one of them


class Broken(Exception):
    """The group before this one was not stored, so this one must not be."""


class Turn:
    """A group's place in its stream: in each lane it begins when the group before it is through there.

    After a group that could not be stored, none is stored in a lane that it had not left, so that what a user did is never
    taken in out of order.
    """

    def __init__(self, before: "Turn | None" = None) -> None:
        self._before = before
        self._passed = [asyncio.Event() for _ in range(LANES)]
        self._begun = asyncio.Event()  # the first of them
        self._is_whole = True
        self._failed = False

    async def begin(self) -> None:
        """Wait until there is something to do; raises Broken. Until then the group takes no one's place."""
        if self._before is not None:
            await self._before._begun.wait()
            self._check()

    async def take(self, lane: int) -> None:
        """Wait until the group before is through in this lane; raises Broken."""
        if self._before is not None:
            await self._before._passed[lane].wait()
            self._check()

    def passed(self, lane: int) -> None:
        """Say that all of the group that belongs in this lane is stored."""
        if self._is_whole:
            self._passed[lane].set()
            self._begun.set()

    def split(self) -> None:
        """Say that the group is stored in parts from here on: what is stored in a lane is not all of it until the end."""
        self._is_whole = False

    def end(self, *, failed: bool) -> None:
        """Say that the group is through, or that it is given up."""
        self._failed = failed
        self._before = None
        self._is_whole = True
        for lane in range(LANES):
            self.passed(lane)

    def _check(self) -> None:
        if self._before is not None and self._before._failed:
            raise Broken
