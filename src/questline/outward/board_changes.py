"""Changes of boards on their way from a committed transaction to the copies in Redis."""

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING

import structlog

from questline.cache.board_meters import BoardMeters
from questline.model.board_copies import Change
from questline.model.limits import BOARD_CHANGES_WAITING_MAX
from questline.transport.pauses import pause

if TYPE_CHECKING:
    from questline.cache.ranks import Ranks  # needs redis-py, which is optional

log = structlog.get_logger(__name__)

_AGAIN_SECONDS = 0.1


class BoardChanges:
    """Takes changes of one process and sends them in their order; who hands one over never waits.

    What Redis did not take is sent again. Changes beyond a bound are dropped: their copies then lack a mark, are not read,
    and are made again. So no fault here makes a copy wrong.
    """

    def __init__(self, meters: BoardMeters, waiting_max: int = BOARD_CHANGES_WAITING_MAX) -> None:
        self._meters = meters
        self._waiting_max = waiting_max
        self._queue: deque[Change] = deque()
        self._waiting = 0
        self._arrived = asyncio.Event()

    def send(self, changes: Sequence[Change]) -> None:
        """Take what a commit changed."""
        for change in changes:
            weight = _weight(change)
            if self._waiting + weight > self._waiting_max:
                self._meters.dropped.inc()
                continue
            self._queue.append(change)
            self._waiting += weight
        self._meters.waiting.set(self._waiting)
        self._arrived.set()

    async def run(self, ranks: "Ranks", stop: asyncio.Event) -> None:
        """Send until `stop` is set, and then what waits, unless Redis is gone."""
        while True:
            if self._queue and ranks.usable and await self._send_first(ranks):
                continue
            if stop.is_set():
                return
            if self._queue:
                await pause(stop, _AGAIN_SECONDS)
            else:
                self._arrived.clear()
                await _either(self._arrived, stop)

    async def _send_first(self, ranks: "Ranks") -> bool:
        from questline.cache.redis import Gone

        change = self._queue[0]
        try:
            await ranks.push(change)
        except Gone:
            return False
        except Exception:  # a defect of ours costs this change alone
            log.exception("board_changes.failed", copy=change.copy)
            self._meters.dropped.inc()
        self._queue.popleft()
        self._waiting -= _weight(change)
        self._meters.waiting.set(self._waiting)
        return True


def _weight(change: Change) -> int:
    return len(change.entries) + 1


async def _either(arrived: asyncio.Event, stop: asyncio.Event) -> None:
    waits = [asyncio.ensure_future(arrived.wait()), asyncio.ensure_future(stop.wait())]
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
