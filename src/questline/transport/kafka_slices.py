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

    @property
    def size(self) -> int:
        """How many bytes it holds."""
        return len(self.key or b"") + len(self.value or b"")


class Position:
    """A partition that this worker reads: where its next transaction goes on, and the records from there."""

    __slots__ = ("bytes", "is_busy", "is_stale", "next_offset", "partition", "records")

    def __init__(self, partition: int, next_offset: int) -> None:
        self.partition = partition
        self.next_offset = next_offset
        self.records: deque[Record] = deque()
        self.bytes = 0  # of the records
        self.is_busy = False  # a lane has taken records up
        self.is_stale = False  # it is to be read anew, or it is another worker's

    def add(self, record: Record) -> None:
        """Hold a record behind the others."""
        self.records.append(record)
        self.bytes += record.size

    def first(self, records_max: int, bytes_max: int) -> list[Record]:
        """Return the first records, within these bounds but for one record."""
        found: list[Record] = []
        for record in self.records:
            bytes_max -= record.size
            if found and (len(found) >= records_max or bytes_max < 0):
                break
            found.append(record)
        return found

    def go_on(self, slice_: "Slice") -> None:
        """Go on behind a slice of it."""
        self.next_offset = slice_.next_offset
        for _ in slice_.records:
            self.bytes -= self.records.popleft().size

    def go_to(self, offset: int) -> None:
        """Go on at a place, with nothing in hand."""
        self.records.clear()
        self.bytes = 0
        self.next_offset = offset


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
