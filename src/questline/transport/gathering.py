"""How what arrives one by one is gathered into groups, each of which shares statements and a commit."""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

from questline.transport.pauses import later

T = TypeVar("T")

_TICK_SECONDS = 0.001  # the least that a timer of the loop tells from none


class Gathering(Generic[T]):
    """A queue that several lanes take groups from. A statement costs little more for several things than for one.

    Groups take turns, one of them in PostgreSQL while this process answers the other and takes its callers' next requests:
    a group begins once half of the crowd waits, and takes no more than that. The crowd is how many callers are known to be
    here: those of the last two groups, or more where more wait or are under way. That some of them do not come again is
    noticed in time: no group is waited for longer than `seconds`. Nothing is waited for while nothing is under way and the
    crowd is small, or was not seen for as long: callers who come by chance gain nothing by each other.

    Who brings the last thing that a group needs hands it to an idle lane there and then: on a busy loop, a lane that had
    to wake up and look would come late. It is the lane that was free last, whose connection has its plans and caches warm.
    """

    def __init__(self, size_of: Callable[[T], int], *, least: int, most: int, bytes_most: int, seconds: float) -> None:
        """`size_of` tells the bytes of one thing. A group takes `least` things where they wait, and `most` at most."""
        self._size_of = size_of
        self._least = least
        self._most = most
        self._bytes_most = bytes_most
        self._seconds = seconds
        self._queue: deque[T] = deque()
        self._lanes: list[asyncio.Future[list[T]]] = []  # those that have nothing to do
        self._under_way = 0  # things in the groups that lanes work on
        self._last = 0  # things in the group before
        self._crowd = 0
        self._since = time.monotonic()  # of the wait, while things wait; else of the quiet
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False
        self.bytes_waiting = 0

    def __len__(self) -> int:
        """How many things wait."""
        return len(self._queue)

    def add(self, thing: T) -> None:
        """Let a thing wait for its group."""
        if not self._queue:
            if not self._under_way and self._is_over():
                self._crowd = self._last = 0
            self._since = time.monotonic()
        self._queue.append(thing)
        self.bytes_waiting += self._size_of(thing)
        if self._lanes and (self._timer is None or self._are_enough()):
            self._hand_out()

    async def next(self) -> list[T]:
        """Return the next group, which its lane ends with `done`; an empty one when all is closed and nothing waits."""
        lane: asyncio.Future[list[T]] = asyncio.get_running_loop().create_future()
        self._lanes.append(lane)
        self._hand_out()
        return await lane

    def done(self, group: list[T]) -> None:
        """Say that a group is through, well or badly."""
        self._under_way -= len(group)
        if not self._queue:
            self._since = time.monotonic()

    def close(self) -> None:
        """Let lanes take what waits without gathering, and then nothing more."""
        self._closed = True
        self._hand_out()

    def clear(self) -> list[T]:
        """Return what waits, and wait for it no more."""
        waiting = list(self._queue)
        self._queue.clear()
        self.bytes_waiting = 0
        return waiting

    def _are_enough(self) -> bool:
        if not self._under_way and self._crowd <= 2 * self._least:
            return True
        enough = min((self._crowd + 1) // 2, self._most)
        return len(self._queue) >= enough or self.bytes_waiting >= self._bytes_most

    def _is_over(self) -> bool:
        return time.monotonic() - self._since >= self._seconds

    def _hand_out(self) -> None:
        """Give groups to idle lanes, and see to it that what is left is looked at again in time."""
        while self._lanes and (self._closed or (self._queue and (self._are_enough() or self._is_over()))):
            lane = self._lanes.pop()
            if not lane.done():  # else it was cancelled
                lane.set_result(self._take())
        if self._queue and self._lanes and self._timer is None:  # without an idle lane, the first that is will look
            left = self._since + self._seconds - time.monotonic()
            self._timer = later(max(left, _TICK_SECONDS), self._look)

    def _look(self) -> None:
        self._timer = None
        self._hand_out()

    def _take(self) -> list[T]:
        if not self._are_enough():  # time was up: of those who were reckoned with, these are left
            self._crowd = self._last = 0
        here = max(self._crowd, len(self._queue) + self._under_way)
        most = min(self._most, max(self._least, (here + 1) // 2))
        group: list[T] = []
        size = 0
        while self._queue and len(group) < most and size < self._bytes_most:
            group.append(thing := self._queue.popleft())
            size += self._size_of(thing)
        self.bytes_waiting -= size
        self._under_way += len(group)
        self._crowd = max(len(self._queue) + self._under_way, self._last + len(group))
        self._last = len(group)
        self._since = time.monotonic()
        return group
