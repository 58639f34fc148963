"""Entries: short values under keys, which last for a moment and may be lost before.

`Entries` is the interface. A miss says nothing: who needs to know asks the database.
"""

import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol


class Entries(Protocol):
    """Where entries are kept."""

    async def get(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """Return what is kept under each key; None: nothing that is known here."""
        ...

    def put(self, entries: Mapping[bytes, bytes], seconds: float) -> None:
        """Keep entries for so long, soon: nobody waits for it, and they may be dropped."""
        ...


class MemoryEntries:
    """Entries of one process, at most so many: beyond, the one put first is forgotten. `clock` in seconds."""

    def __init__(self, entries_max: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._entries_max = entries_max
        self._clock = clock
        self._entries: OrderedDict[bytes, tuple[bytes, float]] = OrderedDict()  # value, until

    async def get(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """See Entries."""
        now = self._clock()
        found = [self._entries.get(key) for key in keys]
        return [None if entry is None or entry[1] <= now else entry[0] for entry in found]

    def put(self, entries: Mapping[bytes, bytes], seconds: float) -> None:
        """See Entries."""
        until = self._clock() + seconds
        for key, value in entries.items():
            self._entries[key] = value, until
            self._entries.move_to_end(key)
        while len(self._entries) > self._entries_max:
            self._entries.popitem(last=False)
