"""Whether the store is too slow to go on taking in what must wait for it."""

import asyncio
import time
from collections.abc import Callable

from questline.model.limits import STALL_CHECKED_SECONDS, STALL_SECONDS


class Stall:
    """Notices when every writer of a queue has waited for the store for too long.

    Then `now` is true, and whoever waits in the queue is turned away: nothing of theirs was stored. It ends as soon as a
    writer is through.
    """

    def __init__(self, writers: int, turn_away: Callable[[], None], seconds: float = STALL_SECONDS) -> None:
        self._since: list[float | None] = [None] * writers
        self._turn_away = turn_away
        self._seconds = seconds
        self.now = False

    def begins(self, writer: int) -> None:
        """Note that a writer asks the store now."""
        self._since[writer] = time.monotonic()

    def ends(self, writer: int) -> None:
        """Note that the writer was answered, well or badly."""
        self._since[writer] = None
        self.now = False

    async def watch(self) -> None:
        """Look now and then, until cancelled."""
        while True:
            await asyncio.sleep(STALL_CHECKED_SECONDS)
            longest_ago = time.monotonic() - self._seconds
            if all(since is not None and since < longest_ago for since in self._since):
                self.now = True
                self._turn_away()
