"""When what a broker was handed, and nobody has applied, is handed over again: where it may be lost, and ever more seldom.

A queue holds what nobody has fetched, in order. One that holds nothing has brought all, or lost it: then rows come again.
What workers have fetched and not acknowledged is in no figure of the broker's, so a worker that is slow is told twice; the wait
doubles each time, and once as many messages as it fetches are in its hands, the next stay in the queue. Behind messages that a
queue holds, something may be lost as well: it waits longer, and until workers read and the queue is short. Without workers
nothing comes twice, so that a queue never grows by time alone.
"""

from collections.abc import Iterable, Mapping

import msgspec

from questline.model.limits import (
    RELAY_UNAPPLIED_MESSAGES_MAX,
    RELAY_UNAPPLIED_SECONDS,
    RELAY_UNAPPLIED_SECONDS_MAX,
)


class Depth(msgspec.Struct, frozen=True):
    """What a broker holds of a partition: messages that nobody has fetched, and how many consumers there are."""

    messages: int
    consumers: int


class Patience:
    """Remembers, of each partition, how long to wait before its rows are handed over once more."""

    def __init__(self) -> None:
        self._tried: dict[int, tuple[float, float]] = {}  # by partition the seconds to wait now, and when it was tried

    def with_these(self, depths: Mapping[int, Depth], at: float) -> dict[int, float]:
        """Return for partitions whose rows may come again how many seconds ago these must have been handed over.

        `depths` are of all partitions with rows that wait for RELAY_UNAPPLIED_SECONDS; `at` is of a stopwatch.
        """
        # What still waited since the last try would be here by now.
        self._tried = {p: tried for p, tried in self._tried.items() if p in depths or at < sum(tried)}
        older_than = {}
        for partition, depth in depths.items():
            if not depth.messages:
                older_than[partition], _ = self._tried.get(partition, (RELAY_UNAPPLIED_SECONDS, at))
            elif depth.consumers and depth.messages <= RELAY_UNAPPLIED_MESSAGES_MAX:
                older_than[partition] = RELAY_UNAPPLIED_SECONDS_MAX
        return older_than

    def tried(self, partitions: Iterable[int], at: float) -> None:
        """Note that rows of these partitions are handed over again."""
        for partition in partitions:
            waited, _ = self._tried.get(partition, (RELAY_UNAPPLIED_SECONDS, at))
            self._tried[partition] = min(2 * waited, RELAY_UNAPPLIED_SECONDS_MAX), at
