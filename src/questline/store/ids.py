"""Event ids: UUIDv7 (RFC 9562), so that a range of ids is a range of receipt times."""

import os
import time
from uuid import UUID

from asyncpg.pgproto import pgproto

_VARIANT = 0x8000_0000_0000_0000
_RANDOM_BITS = 62


class EventIds:
    """Makes ids; those of one process rise strictly, for 4,096 in a millisecond, and never repeat."""

    def __init__(self) -> None:
        self._ms = 0
        self._sequence = 0
        self._random = b""
        self._offset = 0

    def new(self) -> UUID:
        """Return a new id of now."""
        ms = time.time_ns() // 1_000_000
        if ms > self._ms:
            self._ms, self._sequence = ms, 0
        else:  # the same millisecond, or a clock stepped back: go on from the last id
            self._sequence += 1
            if self._sequence > 0xFFF:
                self._ms, self._sequence = self._ms + 1, 0
        if self._offset >= len(self._random):
            self._random, self._offset = os.urandom(4096), 0
        low = int.from_bytes(self._random[self._offset : self._offset + 8], "big") >> 2 | _VARIANT
        self._offset += 8
        high = self._ms << 16 | 0x7000 | self._sequence
        return pgproto.UUID((high << 64 | low).to_bytes(16, "big"))
