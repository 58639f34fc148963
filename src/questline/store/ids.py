"""Event ids: UUIDv7 (RFC 9562), so that a range of ids is a range of receipt times."""

import os
import struct
import time
from datetime import UTC, datetime
from uuid import UUID

from asyncpg.pgproto import pgproto

_pack = struct.Struct(">QQ").pack
_TAILS = struct.Struct(">512Q")
_VARIANT = 0x8000_0000_0000_0000
_RANDOM = 0x3FFF_FFFF_FFFF_FFFF


class EventIds:
    """Makes ids; those of one process rise strictly, for 4,096 in a millisecond, and never repeat."""

    def __init__(self) -> None:
        self._ms = 0
        self._sequence = 0
        self._tails: list[int] = []

    def new(self) -> UUID:
        """Return a new id of now."""
        ms = time.time_ns() // 1_000_000
        if ms > self._ms:
            self._ms, self._sequence = ms, 0
        else:  # the same millisecond, or a clock stepped back: go on from the last id
            self._sequence += 1
            if self._sequence > 0xFFF:
                self._ms, self._sequence = self._ms + 1, 0
        if not self._tails:
            self._tails = [tail & _RANDOM | _VARIANT for tail in _TAILS.unpack(os.urandom(_TAILS.size))]
        return pgproto.UUID(_pack(self._ms << 16 | 0x7000 | self._sequence, self._tails.pop()))


def earliest_id(ms: int) -> UUID:
    """Return what no id made in or after a millisecond since 1970 lies below."""
    return pgproto.UUID(_pack(ms << 16, 0))


def milliseconds(id_: UUID) -> int:
    """Return when an id was made, in milliseconds since 1970."""
    return id_.int >> 80


def received_at(event_id: UUID) -> datetime:
    """Return the receipt of an event, to the millisecond."""
    return datetime.fromtimestamp(milliseconds(event_id) / 1000, UTC)
