"""What a lane takes up of the log: a run of records of each of its partitions."""

from collections import deque
from datetime import datetime

import msgspec


class Record(msgspec.Struct, frozen=True, gc=False):
    """A record as the brokers hold it."""

    offset: int
    written_at: datetime
    key: bytes | None
    value: bytes | None


class Position:
    """A partition that this worker reads: where its next transaction goes on, and the records from there."""

    __slots__ = ("is_busy", "is_stale", "next_offset", "partition", "records")

    def __init__(self, partition: int, next_offset: int) -> None:
        self.partition = partition
        self.next_offset = next_offset
        self.records: deque[Record] = deque()
        self.is_busy = False  # a lane has taken records up
        self.is_stale = False  # it is to be read anew, or it is another worker's


class Slice:
    """Records of one partition that a lane settles in one transaction."""

    __slots__ = ("expected", "position", "records")

    def __init__(self, position: Position, expected: int, records: list[Record]) -> None:
        self.position = position
        self.expected = expected
        self.records = records

    @property
    def partition(self) -> int:
        """The partition's number."""
        return self.position.partition

    @property
    def next_offset(self) -> int:
        """Where to go on behind it."""
        return self.records[-1].offset + 1
